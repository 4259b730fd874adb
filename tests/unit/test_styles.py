"""Tabler's styles without those that no page uses: what is left out, and that the file served is up to date."""

from __future__ import annotations

import pytest

from ops.styles import SERVED, WHOLE, served, used_by, without_unused


def _left(css: str, *names: str) -> str:
    return without_unused(css, used_by(names))


@pytest.mark.parametrize(
    ("css", "left"),
    [
        (".a{color:red}.b{color:blue}", ".a{color:red}"),
        (".a .b{color:red}.a>.c{color:blue}", ""),
        (".a,.b,.a.b{color:red}", ".a{color:red}"),
        ("body{color:red}[data-x]{color:blue}:root{--y:1}", "body{color:red}[data-x]{color:blue}:root{--y:1}"),
        ('.a:not(.b){x:y}.a:hover::before{content:".b"}', '.a:not(.b){x:y}.a:hover::before{content:".b"}'),
        ("@media (min-width:1px){.a{x:y}.b{x:y}}@media print{.b{x:y}}", "@media (min-width:1px){.a{x:y}}"),
        ("@supports (x:y){@media print{.a{x:y}}}", "@supports (x:y){@media print{.a{x:y}}}"),
        ("@font-face{font-family:b}@keyframes b{to{x:y}}", "@font-face{font-family:b}@keyframes b{to{x:y}}"),
        ('@charset "UTF-8";/*! a licence */.b{x:y}', '@charset "UTF-8";/*! a licence */'),
        (r".a\:b{x:y}.w-1\/2{x:y}", ""),
    ],
)
def test_a_rule_stays_if_its_classes_are_named(css: str, left: str) -> None:
    assert _left(css, "class='a'") == left


def test_names_that_are_put_together_keep_all_that_begin_so() -> None:
    texts = ("`alert-${kind}`", "bg-{{ colour }}-lt", '"btn-" ~ kind', "<span class='text-{}'>")
    kept = [name for name in ("alert-x", "bg-x-lt", "btn-x", "text-x", "card-x") if _left(f".{name}{{x:y}}", *texts)]
    assert kept == ["alert-x", "bg-x-lt", "btn-x", "text-x"]


def test_what_is_served_is_up_to_date_and_a_fraction() -> None:
    """After a change of templates: `make styles`."""
    assert served() == SERVED.read_text(encoding="utf-8")
    assert SERVED.stat().st_size < WHOLE.stat().st_size / 3


def test_the_licence_is_in_it() -> None:
    assert "Licensed under MIT" in SERVED.read_text(encoding="utf-8")[:400]
