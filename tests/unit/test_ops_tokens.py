"""The stack's key, and tokens for testers."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.auth.composition import authentication
from gateway.auth.settings import AuthSettings
from ops.applications import gateway_environment, merged_settings
from ops.cli import main
from ops.errors import StackError
from ops.folder import StackFolder
from ops.stack import Stack
from ops.state import fresh_state, save_state
from ops.tokens import ensure_signing_key, mint
from shared.config import Source
from shared.identity import Identity, Role

PORTS = {"postgres": 21000, "amqp": 21001, "management": 21002, "gateway": 21004, "psp": 21005}


@pytest.fixture
def folder(tmp_path: Path) -> StackFolder:
    """A stack that was started once."""
    layout = StackFolder(root=tmp_path / ".stack")
    layout.create()
    save_state(layout, fresh_state(layout).changed(ports=PORTS))
    ensure_signing_key(layout)
    return layout


@pytest.fixture
def environment(folder: StackFolder) -> dict[str, str]:
    return Stack(folder.root).environment()


def believed(folder: StackFolder, token: str) -> Identity:
    """Who the gateway of this stack takes the bearer for."""
    state = fresh_state(folder).changed(ports=PORTS)
    settings = AuthSettings.read(Source(values=gateway_environment(folder, state)))
    return authentication(settings).verifier.identity_of(token)


def test_the_key_is_made_once_and_private(folder: StackFolder) -> None:
    before = folder.signing_key_file.read_text()
    ensure_signing_key(folder)

    assert folder.signing_key_file.read_text() == before
    assert folder.signing_key_file.stat().st_mode & 0o777 == 0o600
    assert Stack(folder.root).environment()["JWT_SIGNING_KEY_FILE"] == str(folder.signing_key_file)


def test_the_gateway_gets_it_and_runs_in_development(folder: StackFolder) -> None:
    state = fresh_state(folder).changed(ports=PORTS)

    environment = gateway_environment(folder, state)
    assert environment["JWT_SIGNING_KEY_FILE"] == str(folder.signing_key_file)
    assert environment["ORDERSAGA_MODE"] == "development"
    strict = gateway_environment(folder, state.changed(settings={"ORDERSAGA_MODE": "production"}))
    assert strict["ORDERSAGA_MODE"] == "production"
    with pytest.raises(StackError, match="set by the stack itself"):
        merged_settings({}, {"JWT_SIGNING_KEY_FILE": "/tmp/key"})  # noqa: S108


def test_browsers_are_told_where_cards_become_tokens(folder: StackFolder) -> None:
    state = fresh_state(folder).changed(ports=PORTS)
    assert gateway_environment(folder, state)["PSP_PUBLIC_URL"] == "http://127.0.0.1:21005"
    elsewhere = state.changed(settings={"PSP_PUBLIC_URL": "https://psp.example"})
    assert gateway_environment(folder, elsewhere)["PSP_PUBLIC_URL"] == "https://psp.example"


def test_a_token_for_anybody(folder: StackFolder, environment: dict[str, str]) -> None:
    assert believed(folder, mint(environment, "anna")) == Identity(subject="anna", roles=frozenset({Role.USER}))
    seller = mint(environment, "sam", ["SELLER", Role.USER], "shop-1")
    assert believed(folder, seller) == Identity(
        subject="sam", roles=frozenset({Role.USER, Role.SELLER}), seller_id="shop-1"
    )


@pytest.mark.parametrize(
    ("subject", "roles", "seller_id", "words"),
    [
        ("", ["USER"], None, "1 to 64"),
        ("x" * 65, ["USER"], None, "1 to 64"),
        ("a\nb", ["USER"], None, "1 to 64"),
        ("sam", ["SELLER"], None, "a SELLER has a shop"),
        ("sam", ["USER"], "shop", "a SELLER has a shop"),
        ("sam", ["SELLER"], "", "1 to 64"),
    ],
)
def test_a_token_for_nobody(
    environment: dict[str, str], subject: str, roles: list[str], seller_id: str | None, words: str
) -> None:
    with pytest.raises(StackError, match=words):
        mint(environment, subject, roles, seller_id)


def test_without_a_key(folder: StackFolder, environment: dict[str, str]) -> None:
    folder.signing_key_file.write_text("damaged")
    with pytest.raises(StackError, match="cannot be used"):
        mint(environment, "anna")
    folder.signing_key_file.unlink()
    with pytest.raises(StackError, match="cannot be used"):
        mint(environment, "anna")
    with pytest.raises(StackError, match="no key for tokens yet"):
        mint(Stack(folder.root).environment(), "anna")


@pytest.mark.parametrize(
    ("arguments", "identity"),
    [
        (["anna"], Identity(subject="anna", roles=frozenset({Role.USER}))),
        (["sam", "--seller", "s1"], Identity(subject="sam", roles=frozenset({Role.SELLER}), seller_id="s1")),
        (
            ["a", "--role", "ADMIN", "--role", "USER"],
            Identity(subject="a", roles=frozenset({Role.USER, Role.ADMIN})),
        ),
    ],
)
def test_on_the_command_line(folder: StackFolder, arguments: list[str], identity: Identity) -> None:
    ended = CliRunner().invoke(main, ["--stack", str(folder.root), "token", *arguments])

    assert ended.exit_code == 0
    assert believed(folder, ended.stdout.strip()) == identity


def test_wrong_words_on_the_command_line(folder: StackFolder) -> None:
    for arguments in (["sam", "--role", "KING"], ["sam", "--ttl", "0"], []):
        assert CliRunner().invoke(main, ["--stack", str(folder.root), "token", *arguments]).exit_code == 2
    assert CliRunner().invoke(main, ["--stack", str(folder.root), "token", "s", "--role", "SELLER"]).exit_code == 1
