"""The secrets of one deployment, made for the test."""

from pathlib import Path

import pytest

from infra.security.secrets import Secrets


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets.create(tmp_path / "secrets")
