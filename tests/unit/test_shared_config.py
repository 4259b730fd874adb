"""Settings: a named error instead of a wrong value."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from inventory_service.settings import Settings as InventorySettings
from order_service.settings import Settings as OrderSettings
from payment_service.settings import Settings as PaymentSettings
from shared.choreography import load_choreography
from shared.config import ProcessSettings, Source
from shared.errors import Misconfigured


def source(**values: str) -> Source:
    return Source(values=values)


class TestSource:
    def test_a_text_without_default_must_be_set(self) -> None:
        assert source(NAME="value").text("NAME") == "value"
        assert source().text("NAME", "default") == "default"
        for values in ({}, {"NAME": ""}):
            with pytest.raises(Misconfigured, match="NAME"):
                source(**values).text("NAME")

    @pytest.mark.parametrize(("raw", "seconds"), [("5", 5), ("0.25", 0.25), ("", 7), ("1e3", 1000)])
    def test_seconds(self, raw: str, seconds: float) -> None:
        assert source(X_S=raw).seconds("X_S", 7) == seconds
        assert source().seconds("X_S", 7) == 7

    @pytest.mark.parametrize("raw", ["0", "-1", "nan", "inf", "-inf", "1e10", "5s", "five", "5,0", " "])
    def test_seconds_are_a_positive_finite_number(self, raw: str) -> None:
        with pytest.raises(Misconfigured, match="X_S"):
            source(X_S=raw).seconds("X_S", 7)

    @pytest.mark.parametrize("raw", ["0", "-3", "1.5", "1e3", "many", "10000000000"])
    def test_a_count_is_a_positive_whole_number(self, raw: str) -> None:
        assert source(N="3").count("N", 1) == 3
        with pytest.raises(Misconfigured, match="N"):
            source(N=raw).count("N", 1)

    def test_a_choice_is_one_of_the_options(self) -> None:
        assert source().choice("LOG", ("A", "B"), "A") == "A"
        assert source(LOG="B").choice("LOG", ("A", "B"), "A") == "B"
        with pytest.raises(Misconfigured, match="LOG must be one of A, B, not 'b'"):
            source(LOG="b").choice("LOG", ("A", "B"), "A")


class TestSecretsInFiles:
    """Given a secret that is mounted as a file, then no environment holds it."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> str:
        path = tmp_path / "password"
        path.write_text("p@ss/word;:%\n")
        return str(path)

    def test_an_address_gets_its_password(self, file: str) -> None:
        wanted = "amqp://me:p%40ss%2Fword%3B%3A%25@a:1/%2F;amqp://me:p%40ss%2Fword%3B%3A%25@b/%2F"
        read = source(AMQP_URI="amqp://me@a:1/%2F;amqp://me@b/%2F", AMQP_PASSWORD_FILE=file)
        assert read.text("AMQP_URI") == wanted
        url = make_url(source(X_URL="postgresql://me@h:1/d", X_PASSWORD_FILE=file).text("X_URL"))
        assert (url.username, url.password, url.host) == ("me", "p@ss/word;:%", "h")

    @pytest.mark.parametrize("address", ["amqp://me:own@a/", "amqp://a/", ""])
    def test_one_that_has_its_own_or_no_login_stays_as_it_is(self, address: str, file: str) -> None:
        assert source(A_URI=address, A_PASSWORD_FILE=file).text("A_URI", "amqp://default/") == (
            address or "amqp://default/"
        )

    def test_a_secret_is_the_setting_or_what_is_in_its_file(self, file: str) -> None:
        assert source(S="here", S_FILE=file).secret("S") == "here"
        assert source(S_FILE=file).secret("S") == "p@ss/word;:%"
        assert source().secret("S") is None

    def test_a_file_that_is_missing_or_empty_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        for name in ("empty", "missing"):
            with pytest.raises(Misconfigured, match=f"S_FILE.*{name}"):
                source(S_FILE=str(tmp_path / name)).secret("S")
            with pytest.raises(Misconfigured, match=f"A_PASSWORD_FILE.*{name}"):
                source(A_URI="amqp://me@a/", A_PASSWORD_FILE=str(tmp_path / name)).text("A_URI")


class TestSettings:
    def test_a_process_needs_a_broker(self) -> None:
        settings = ProcessSettings.read(source(AMQP_URI="amqp://b"))
        assert (settings.amqp_uri, settings.log_level, settings.log_format) == ("amqp://b", "INFO", "json")
        with pytest.raises(Misconfigured, match="AMQP_URI"):
            ProcessSettings.read(source())

    def test_defaults_are_the_declared_deadlines(self) -> None:
        declared = {d.setting: timedelta(seconds=d.default_s) for d in load_choreography().deadlines}
        rules = OrderSettings.read(source()).rules
        assert declared == {
            "APPROVAL_DEADLINE_S": rules.approval_deadline,
            "PENDING_DEADLINE_S": rules.pending_deadline,
            "RESERVED_GRACE_S": rules.reserved_grace,
            "FINISH_DEADLINE_S": rules.finish_deadline,
        }

    @pytest.mark.parametrize("setting", [d.setting for d in load_choreography().deadlines])
    def test_declared_settings_are_really_read(self, setting: str) -> None:
        assert OrderSettings.read(source(**{setting: "7"})) != OrderSettings.read(source())

    def test_what_becomes_of_an_overdue_order_is_a_choice(self) -> None:
        assert not OrderSettings.read(source()).rules.flags_overdue
        assert not OrderSettings.read(source(ON_DEADLINE="cancel")).rules.flags_overdue
        assert OrderSettings.read(source(ON_DEADLINE="flag")).rules.flags_overdue
        with pytest.raises(Misconfigured, match="ON_DEADLINE"):
            OrderSettings.read(source(ON_DEADLINE="wait"))

    def test_times_of_a_reservation(self) -> None:
        rules = InventorySettings.read(source(RESERVATION_TTL_S="60", MANUAL_PAYMENT_TTL_S="20")).rules
        assert (rules.reservation_ttl, rules.manual_payment_ttl) == (timedelta(seconds=60), timedelta(seconds=20))
        assert InventorySettings.read(source()).rules.reservation_ttl == timedelta(minutes=30)

    def test_a_payment_service_needs_its_providers_book(self) -> None:
        settings = PaymentSettings.read(source(PSP_DATABASE_URL="postgresql://x", PSP_LIMIT_S="3"))
        assert (settings.psp_database_url, settings.rules.psp_limit) == ("postgresql://x", timedelta(seconds=3))
        assert PaymentSettings.read(source(PSP_DATABASE_URL="p")).rules.psp_limit == timedelta(seconds=30)
        with pytest.raises(Misconfigured, match="PSP_DATABASE_URL"):
            PaymentSettings.read(source())
