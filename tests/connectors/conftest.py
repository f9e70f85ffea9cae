"""Fixtures of the connectors' tests."""

from __future__ import annotations

import pytest

from tests.connectors.certificates import Certificates, make


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))
