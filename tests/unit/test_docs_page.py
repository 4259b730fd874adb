"""/docs and /openapi.json: public, from here alone, and kept for as long as they are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from harness.services import FakeServices

from gateway import docs_page
from gateway.access import ANYBODY, access_of
from gateway.app import create_app
from gateway.settings import HttpSettings

APP = create_app(HttpSettings(), FakeServices())
STATIC = Path(docs_page.__file__).parent / "static"
ADDRESS = re.compile(r'(?:src|href)="([^"]+)"')


@pytest.fixture
def client() -> FlaskClient:
    return APP.test_client()


def files_of(client: FlaskClient) -> list[str]:
    return [url for url in ADDRESS.findall(client.get("/docs").text) if url.startswith("/docs/files/")]


def test_nobody_has_to_log_in() -> None:
    views = {name: view for name, view in APP.view_functions.items() if name.startswith("docs.")}

    assert len(views) == 3
    assert {access_of(view) for view in views.values()} == {ANYBODY}


def test_everything_comes_from_here_and_nothing_is_inline(client: FlaskClient) -> None:
    response = client.get("/docs")

    assert response.content_type == "text/html; charset=utf-8"
    assert all(url.startswith("/") for url in ADDRESS.findall(response.text))
    assert not re.search(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=", response.text)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_names_the_document(client: FlaskClient) -> None:
    assert 'href="/openapi.json"' in client.get("/docs").text
    assert 'url: "/openapi.json"' in (STATIC / "start.js").read_text()


def test_a_token_is_not_kept() -> None:
    assert "persistAuthorization: false" in (STATIC / "start.js").read_text()


def test_every_file_of_the_page_is_there_and_kept_for_a_year(client: FlaskClient) -> None:
    urls = files_of(client)

    assert len(urls) == 5
    for url in urls:
        with client.get(url) as response:
            assert response.status_code == 200, url
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert response.get_data() == (STATIC / url.rsplit("/", 1)[-1]).read_bytes()


@pytest.mark.parametrize("path", ["0123456789ab/start.js", "VERSION/start.js"])
def test_another_version_is_not_answered_with_this_one(client: FlaskClient, path: str) -> None:
    assert client.get(f"/docs/files/{path}").status_code == 404


@pytest.mark.parametrize("name", ["nothing.js", "../__init__.py", "%2e%2e/page.html", "..%2fpage.html"])
def test_only_the_files_of_the_page_are_shown(client: FlaskClient, name: str) -> None:
    folder = files_of(client)[0].rsplit("/", 1)[0]

    response = client.get(f"{folder}/{name}")

    assert (response.status_code, response.content_type) == (404, "application/problem+json")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_what_has_not_changed_is_not_sent_again(client: FlaskClient, path: str) -> None:
    first = client.get(path)

    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.get_data()) == (304, b"")
    assert again.headers["Cache-Control"] == "no-cache"


def test_the_licence_is_there_with_what_it_is_for() -> None:
    assert "Apache License" in (STATIC / "LICENSE").read_text()
    assert re.search(r"swagger-ui-dist \d+\.\d+\.\d+", (STATIC / "VERSION").read_text())
