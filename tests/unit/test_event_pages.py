"""/docs/events, its board, and /asyncapi.json: public, from here alone, the same for everybody."""

from __future__ import annotations

import gzip
import re
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient
from harness.services import FakeServices

from gateway.access import ANYBODY, access_of
from gateway.app import create_app
from gateway.event_pages.pictures import FOLDER
from gateway.event_pages.reading import DOCUMENT
from gateway.settings import HttpSettings
from shared.choreography import load_choreography
from shared.choreography.model import FAILURE, Event
from shared.choreography.pictures import Picture, pictures
from shared.choreography.storming_page import storming_page

APP = create_app(HttpSettings(), FakeServices())
CHOREOGRAPHY = load_choreography()
PICTURES = pictures(CHOREOGRAPHY)
PAGES = ("/docs/events", "/docs/events/board")
ADDRESS = re.compile(r'(?:src|href)="([^"]+)"')


@pytest.fixture
def client() -> FlaskClient:
    return APP.test_client()


class TestPages:
    def test_nobody_has_to_log_in(self, client: FlaskClient) -> None:
        views = {name: view for name, view in APP.view_functions.items() if name.startswith("event_pages.")}

        assert len(views) == 4
        assert {access_of(view) for view in views.values()} == {ANYBODY}
        assert "Set-Cookie" not in client.get("/docs/events").headers

    @pytest.mark.parametrize("path", PAGES)
    def test_everything_comes_from_here_and_nothing_is_inline(self, client: FlaskClient, path: str) -> None:
        response = client.get(path)

        assert response.content_type == "text/html; charset=utf-8"
        assert all(url.startswith(("/", "#")) for url in ADDRESS.findall(response.text))
        assert not re.search(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=|foreignObject", response.text)
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "://" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize("path", PAGES)
    def test_every_file_that_it_names_is_there(self, client: FlaskClient, path: str) -> None:
        files = [url for url in ADDRESS.findall(client.get(path).text) if "/files/" in url or "/static/" in url]

        assert len(files) > 4
        for url in files:
            with client.get(url) as response:
                assert response.status_code == 200, url

    @pytest.mark.parametrize("path", PAGES)
    def test_no_two_elements_have_one_id(self, client: FlaskClient, path: str) -> None:
        ids = re.findall(r'\sid="([^"]+)"', client.get(path).text)

        assert len(set(ids)) == len(ids)

    @pytest.mark.parametrize("path", [*PAGES, "/asyncapi.json"])
    def test_what_has_not_changed_is_not_sent_again(self, client: FlaskClient, path: str) -> None:
        first = client.get(path)

        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})

        assert (again.status_code, again.get_data()) == (304, b"")
        assert again.headers["Cache-Control"] == "no-cache"

    @pytest.mark.parametrize("path", [*PAGES, "/asyncapi.json"])
    def test_it_is_compressed_for_whoever_takes_that(self, client: FlaskClient, path: str) -> None:
        plain = client.get(path)
        small = client.get(path, headers={"Accept-Encoding": "gzip"})

        assert small.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(small.get_data()) == plain.get_data()
        assert len(small.get_data()) < 30_000
        assert small.headers["ETag"] != plain.headers["ETag"]
        assert "Accept-Encoding" in small.headers["Vary"]

    def test_the_document_is_the_generated_one(self, client: FlaskClient) -> None:
        response = client.get("/asyncapi.json")

        assert (response.content_type, response.get_data()) == ("application/json", DOCUMENT.read_bytes())

    def test_the_pages_lead_to_one_another(self, client: FlaskClient) -> None:
        leads = {path: set(ADDRESS.findall(client.get(path).text)) for path in ("/docs", *PAGES)}

        assert {"/docs/events", "/asyncapi.json"} <= leads["/docs"]
        assert {"/docs", "/docs/events/board", "/asyncapi.json"} <= leads["/docs/events"]
        assert {"/docs", "/docs/events"} <= leads["/docs/events/board"]


class TestEvents:
    @pytest.mark.parametrize("event", CHOREOGRAPHY.events.values(), ids=lambda event: event.type)
    def test_each_is_shown_with_who_says_it_and_who_hears_it(self, client: FlaskClient, event: Event) -> None:
        page = client.get("/docs/events").text
        start = page.index(f'id="{event.type}"')
        shown = page[start : page.index("</section>", start)]

        assert f"{event.publisher}.events" in shown
        for consumer in event.consumers:
            assert f"{consumer.service}.{event.type}" in shown
            for answer in consumer.answers:
                assert f'href="#{answer}"' in shown

    @pytest.mark.parametrize(
        "said",
        [
            "<code>items[].quantity</code>",
            "money, decimal text",
            "list of object",
            "text or null",
            "one of auto, manual",
            "1.0, 1.1; the header",
            "at least 0.01",
        ],
    )
    def test_fields_are_said_in_words(self, client: FlaskClient, said: str) -> None:
        assert said in client.get("/docs/events").text


class TestPictures:
    @pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
    def test_a_drawing_is_of_the_contract_as_it_is(self, picture: Picture) -> None:
        """Given a contract that has changed since, then its picture is out of date: run `make board`."""
        drawn = ElementTree.parse(FOLDER / f"{picture.name}.svg").getroot()  # noqa: S314 -- our own file

        assert drawn.get("data-source") == picture.digest

    def test_there_are_no_others(self) -> None:
        assert {path.stem for path in FOLDER.glob("*")} == {picture.name for picture in PICTURES}

    @pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
    def test_a_drawing_can_be_put_into_a_page(self, picture: Picture) -> None:
        """No styles, scripts or references: a strict policy would forbid them, and the page has its own colours."""
        root = ElementTree.parse(FOLDER / f"{picture.name}.svg").getroot()  # noqa: S314
        for element in root.iter():
            assert element.tag.rpartition("}")[2] not in ("style", "script", "foreignObject", "image", "use", "a")
            assert not [name for name in element.keys() if name == "style" or name.startswith("on")]  # noqa: SIM118
            for value in element.attrib.values():
                assert "url(" not in value or f"url(#{picture.name}" in value

    @pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
    def test_a_drawing_shows_every_event_of_its_picture(self, picture: Picture) -> None:
        root = ElementTree.parse(FOLDER / f"{picture.name}.svg").getroot()  # noqa: S314
        shown = "".join(root.itertext())
        for event in CHOREOGRAPHY.events:
            assert (event in shown) == (event in picture.source)

    @pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
    def test_the_page_and_the_document_show_it(self, client: FlaskClient, picture: Picture) -> None:
        assert f'id="{picture.name}"' in client.get("/docs/events/board").text
        assert f"```mermaid\n{picture.source}```" in storming_page(CHOREOGRAPHY)

    def test_every_event_command_and_policy_is_on_the_board(self) -> None:
        board = "\n".join(picture.source for picture in PICTURES if picture.section == "board")
        words = re.sub(r"<br/>|\s+", " ", board)
        for event in CHOREOGRAPHY.events.values():
            assert f'["{event.type}"]' in board
            for consumer in event.consumers:
                assert f"{consumer.service} {consumer.does}" in words
        for command in CHOREOGRAPHY.commands.values():
            assert command.name in words

    def test_every_failure_is_shown_with_what_undoes_it(self) -> None:
        undoing = {picture.title: picture.source for picture in PICTURES if picture.section == "undoing"}

        failures = {event.type for event in CHOREOGRAPHY.events.values() if event.kind == FAILURE}
        assert set(undoing) == failures | {flow.fails_with for flow in CHOREOGRAPHY.flows if flow.fails_with}
        for flow in CHOREOGRAPHY.flows:
            for event in flow.compensations:
                assert f'{event}["{event}"]' in undoing[str(flow.fails_with)]
