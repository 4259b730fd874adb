"""``python -m ops.drawing``: every picture of the contract as an SVG of gateway/event_pages.

Owns: fetching Mermaid, running Chromium, writing the files. Must not know: what is on a picture.

A file bears the digest of the Mermaid text that it was drawn from, so that a test sees one that is out of date.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from ops.errors import StackError
from ops.packages import install
from shared.choreography import load_choreography
from shared.choreography.pictures import Picture, pictures

MERMAID = "12.3.0"
ROOT = Path(__file__).resolve().parents[2]
DRAWN = ROOT / "gateway" / "event_pages" / "pictures"
_SCRATCH = ROOT / ".board"
_TIMEOUT_S = 300
_PAGE = """<!doctype html><meta charset="utf-8"><body><script src="mermaid.min.js"></script>
<script id="pictures" type="application/json">{pictures}</script><script src="draw.js"></script></body>"""
_RESULT = re.compile(r'<pre id="drawn">([A-Za-z0-9+/=]*)</pre>')


def draw() -> list[Path]:
    """The files written; others that were there are removed. Raises StackError where a picture cannot be drawn."""
    wanted = pictures(load_choreography())
    drawn = _run_chromium(wanted)
    DRAWN.mkdir(exist_ok=True)
    for old in DRAWN.glob("*.svg"):
        old.unlink()
    written = []
    for picture in wanted:
        path = DRAWN / f"{picture.name}.svg"
        path.write_text(_marked(drawn[picture.name], picture), encoding="utf-8")
        written.append(path)
    return written


def _run_chromium(wanted: list[Picture]) -> dict[str, str]:
    if shutil.which("chromium") is None:
        install(["chromium"], lambda line: print(line, file=sys.stderr))  # noqa: T201
    _fetch_mermaid()
    shutil.copy(Path(__file__).with_name("draw.js"), _SCRATCH / "draw.js")
    sources = json.dumps([{"name": picture.name, "source": picture.source} for picture in wanted]).replace(
        "<", "\\u003c"
    )
    page = _SCRATCH / "draw.html"
    page.write_text(_PAGE.format(pictures=sources), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=120000", "--dump-dom"]
    shown = subprocess.run(  # noqa: S603 -- our own page
        [*command, page.as_uri()], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
    )
    found = _RESULT.search(shown.stdout)
    if found is None:
        raise StackError(f"Chromium drew nothing: {shown.stdout[-500:]}", hint=shown.stderr[-500:])
    answers: dict[str, dict[str, str]] = json.loads(base64.b64decode(found.group(1)))
    wrong = {name: said["error"] for name, said in answers.items() if "error" in said}
    if wrong:
        raise StackError(f"Mermaid does not take {', '.join(wrong)}", hint=json.dumps(wrong, indent=2))
    return {name: said["svg"] for name, said in answers.items()}


def _fetch_mermaid() -> None:
    script = _SCRATCH / "mermaid.min.js"
    if script.exists():
        return
    _SCRATCH.mkdir(exist_ok=True)
    fetch = ["npm", "pack", "--silent", f"mermaid@{MERMAID}"]
    subprocess.run(fetch, cwd=_SCRATCH, timeout=_TIMEOUT_S, check=True)  # noqa: S603
    with tarfile.open(_SCRATCH / f"mermaid-{MERMAID}.tgz") as archive:
        member = archive.extractfile("package/dist/mermaid.min.js")
        assert member is not None  # noqa: S101
        script.write_bytes(member.read())


def _marked(svg: str, picture: Picture) -> str:
    return svg.replace("<svg ", f'<svg data-source="{picture.digest}" ', 1) + "\n"


if __name__ == "__main__":
    for path in draw():
        print(path.relative_to(ROOT))  # noqa: T201
