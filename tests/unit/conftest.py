"""The gateway in front of services that answer from a table, asked by somebody who has every role."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from harness.login import client_of
from harness.services import FakeServices


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


@pytest.fixture
def client(services: FakeServices) -> FlaskClient:
    return client_of(services)
