"""The dashboard's styles and scripts. Nothing comes from elsewhere: it works offline.

Owns: their address. Must not know: pages.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response

from gateway.access import public
from gateway.static_files import VersionedFiles

FILES = VersionedFiles(Path(__file__).parent / "static")

blueprint = Blueprint("files", __name__)


@blueprint.get("/static/<version>/<path:name>")
@public
def file(version: str, name: str) -> Response:
    return FILES.send(version, name)
