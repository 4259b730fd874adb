"""Files for browsers under an address that changes with what is in them, so that they may be kept for a year.

Owns: that address, compression, and how long a file may be kept. Must not know: which files there are, or pages.
"""

from __future__ import annotations

import gzip
import mimetypes
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from flask import Response, abort, request

_A_YEAR_S = 31_536_000
_COMPRESSED = (".css", ".js", ".svg")


class VersionedFiles:
    """The files below ``folder``, read once, at the first request; compressed once, when first asked for so."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._small: dict[str, bytes] = {}

    @cached_property
    def _files(self) -> dict[str, bytes]:
        found = sorted(path for path in self._folder.rglob("*") if path.is_file())
        return {path.relative_to(self._folder).as_posix(): path.read_bytes() for path in found}

    @cached_property
    def version(self) -> str:
        """Another one whenever any file has another name or content."""
        digest = sha256()
        for name, content in self._files.items():
            digest.update(name.encode() + b"\0" + content)
        return digest.hexdigest()[:12]

    def send(self, version: str, name: str) -> Response:
        """404 for any other version: an old page must not get new files."""
        if version != self.version or name not in self._files:
            abort(404)
        response = Response(self._files[name], mimetype=mimetypes.guess_type(name)[0] or "text/plain")
        response.cache_control.public = True
        response.cache_control.max_age = _A_YEAR_S
        response.cache_control.immutable = True
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.add_etag()
        if name.endswith(_COMPRESSED):
            self._compress(response, name)
        response.make_conditional(request)
        return response

    def _compress(self, response: Response, name: str) -> None:
        response.vary.add("Accept-Encoding")
        if request.accept_encodings["gzip"] > 0:
            if name not in self._small:
                self._small[name] = gzip.compress(self._files[name], mtime=0)
            response.set_data(self._small[name])
            response.content_encoding = "gzip"
