"""The drawn pictures of the contract, as they are put into a page.

Owns: which there are, by section, and reading their files. Must not know: how they are drawn (`make board`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from shared.choreography import Choreography
from shared.choreography.pictures import BOARD, FLOW, UNDOING, Picture, pictures

FOLDER = Path(__file__).parent / "pictures"
_TITLES = {BOARD: "The board", UNDOING: "What undoes what", FLOW: "The flows"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    picture: Picture
    drawing: Markup


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    name: str
    title: str
    shown: tuple[Shown, ...]


def shown_pictures(choreography: Choreography) -> list[Section]:
    drawn = [Shown(picture=picture, drawing=_read(picture)) for picture in pictures(choreography)]
    return [
        Section(name=name, title=title, shown=tuple(one for one in drawn if one.picture.section == name))
        for name, title in _TITLES.items()
    ]


def _read(picture: Picture) -> Markup:
    # Drawn from our own contract, and checked for anything that runs when it is drawn.
    return Markup((FOLDER / f"{picture.name}.svg").read_text(encoding="utf-8"))  # noqa: S704
