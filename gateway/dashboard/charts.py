"""Small charts, drawn on the server.

Owns: how a row of numbers becomes a picture. Must not know: what the numbers are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 240, 48
_MARGIN = 3

Values = Sequence[float | None]


def sparkline(values: Values, label: str, *, top: float | None = None) -> Markup:
    """A line over an area, oldest first; None is a gap. ``top``: the value at the upper edge, the largest if None.

    ``label`` says in words what is seen.
    """
    known = [value for value in values if value is not None]
    highest = top or max(known, default=0.0) or 1.0
    parts = [_run(run, len(values), highest) for run in _runs(values)]
    return Markup(
        '<svg class="sparkline" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<line class="ground" x1="0" x2="{}" y1="{}" y2="{}"/>{}</svg>'
    ).format(WIDTH, HEIGHT, label, WIDTH, HEIGHT - 1, HEIGHT - 1, Markup("").join(parts))


def _runs(values: Values) -> Iterator[list[tuple[int, float]]]:
    """Neighbours that are known, with their places."""
    run: list[tuple[int, float]] = []
    for place, value in enumerate(values):
        if value is not None:
            run.append((place, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _run(run: Sequence[tuple[int, float]], count: int, highest: float) -> Markup:
    step = WIDTH / max(count - 1, 1)
    spots = [(place * step, _y(value, highest)) for place, value in run]
    if len(spots) == 1:
        # A lone value is as wide as its share, so that it can be seen.
        x, y = spots[0]
        spots = [(max(x - step / 2, 0), y), (min(x + step / 2, WIDTH), y)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    area = f"{spots[0][0]:.1f},{HEIGHT} {line} {spots[-1][0]:.1f},{HEIGHT}"
    return Markup('<polygon class="area" points="{}"/><polyline class="line" points="{}"/>').format(area, line)


def _y(value: float, highest: float) -> float:
    share = min(max(value / highest, 0.0), 1.0)
    return HEIGHT - _MARGIN + 2 - share * (HEIGHT - 2 * _MARGIN)
