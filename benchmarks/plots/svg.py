"""Charts as SVG text: axes, lines, stacked bars, labels beside what they name.

Owns: how a chart looks. Must not know: what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 48, 48
COLOURS = ("#1f5fa8", "#d1671f", "#2e8540", "#7a4fa3", "#b0312d", "#6b6f76", "#b08a00", "#1a8a94", "#c2528b", "#4d5b2a")
_INK, _FAINT = "#24292f", "#d8dee4"
Scale = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """``ticks`` are (value, label)."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    is_logarithmic: bool = False

    def place(self, value: float, start: float, end: float) -> float:
        low, high, at = (math.log10(v) if self.is_logarithmic else v for v in (self.low, self.high, value))
        return start + (at - low) / ((high - low) or 1) * (end - start)


@dataclass(frozen=True, kw_only=True)
class Line:
    label: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False


def line_chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """Each line bears its label at its end; labels that would lie on one another move apart."""

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return x.place(point[0], _LEFT, WIDTH - _RIGHT), y.place(point[1], HEIGHT - _BOTTOM, _TOP)

    parts = [*_vertical(x), *_horizontal(y)]
    ends = _apart([at(line.points[-1])[1] for line in lines])
    for number, (line, end) in enumerate(zip(lines, ends, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in map(at, line.points))
        dash = ' stroke-dasharray="5 4"' if line.is_dashed else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(_text(at(line.points[-1])[0] + 8, end + 4, line.label, colour=colour))
    return _document(title, parts)


def stacked_bars(title: str, unit: str, bars: Mapping[str, Mapping[str, float]]) -> str:
    """Horizontal bars by name, each made of named parts in the same colours, with their sum at the end."""
    names = list(dict.fromkeys(name for bar in bars.values() for name in bar))
    most = max(sum(bar.values()) for bar in bars.values())
    axis = linear(unit, most * 1.12)
    parts, step = _vertical(axis), (HEIGHT - _BOTTOM - _TOP) / len(bars)
    for row, (label, bar) in enumerate(bars.items()):
        top, at = _TOP + row * step + step * 0.18, float(_LEFT)
        for name, value in bar.items():
            end = at + axis.place(value, 0, WIDTH - _RIGHT - _LEFT)
            colour = COLOURS[names.index(name) % len(COLOURS)]
            parts.append(_rectangle(at, top, end - at, step * 0.64, colour, f"{name}: {value:.3g} {unit}"))
            at = end
        parts.append(_text(at + 6, top + step * 0.32 + 4, f"{sum(bar.values()):.3g}"))
        parts.append(_text(_LEFT - 8, top + step * 0.32 + 4, label, anchor="end"))
    return _document(title, [*parts, *_legend(names)])


def linear(title: str, high: float) -> Axis:
    """From 0, with a handful of round ticks."""
    high = high or 1.0
    step = 10 ** math.floor(math.log10(high / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if high / (step * factor) <= 6)
    ticks = [(number * step, f"{number * step:,.6g}") for number in range(int(high / step) + 1)]
    return Axis(title=title, low=0, high=high, ticks=ticks)


def logarithmic(title: str, low: float, high: float) -> Axis:
    """Whole powers of ten, with 2 and 5 between them."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    values = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    ticks = [(value, f"{value:,.6g}") for value in values if low <= value <= high]
    return Axis(title=title, low=low, high=high, ticks=ticks, is_logarithmic=True)


def _apart(places: Sequence[float], distance: float = 15.0) -> list[float]:
    moved: dict[int, float] = {}
    last = -math.inf
    for number in sorted(range(len(places)), key=lambda n: places[n]):
        last = max(places[number], last + distance)
        moved[number] = last
    return [moved[number] for number in range(len(places))]


def _vertical(axis: Axis) -> list[str]:
    parts = [_text(WIDTH - _RIGHT, HEIGHT - 10, axis.title, anchor="end")]
    for value, label in axis.ticks:
        x = axis.place(value, _LEFT, WIDTH - _RIGHT)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" stroke="{_FAINT}"/>')
        parts.append(_text(x, HEIGHT - _BOTTOM + 18, label, anchor="middle"))
    return parts


def _horizontal(axis: Axis) -> list[str]:
    parts = [_text(_LEFT - 8, _TOP - 10, axis.title, anchor="start")]
    for value, label in axis.ticks:
        y = axis.place(value, HEIGHT - _BOTTOM, _TOP)
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_FAINT}"/>')
        parts.append(_text(_LEFT - 8, y + 4, label, anchor="end"))
    return parts


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    for row, name in enumerate(names):
        y = _TOP + row * 19
        parts.append(_rectangle(WIDTH - _RIGHT + 16, y, 11, 11, COLOURS[row % len(COLOURS)], name))
        parts.append(_text(WIDTH - _RIGHT + 33, y + 10, name))
    return parts


def _rectangle(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{colour}">'
        f"<title>{escape(title)}</title></rect>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _document(title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        f'<text x="14" y="22" font-size="15" font-weight="600" fill="{_INK}">{escape(title)}</text>'
    )
    return "\n".join([head, *parts, "</svg>", ""])
