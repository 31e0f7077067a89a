"""What a process of a service checks before it connects."""

from pathlib import Path

import pytest

from infra.runtime.service_process import service_process
from infra.settings import BadSetting, Settings


async def test_a_service_with_read_models_needs_the_name_of_a_database(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, nats_url="nats://127.0.0.1:1", metrics_listen="off")
    with pytest.raises(BadSetting, match="VESTNIK_DATABASE_URL names no database"):
        async with service_process("auth", settings):
            pass
