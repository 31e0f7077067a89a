"""What an act is refused for before it is recorded."""

from pathlib import Path

import pytest

from infra.cli.actions.recording import act_without_nats
from infra.settings import BadSetting, Settings


@pytest.mark.parametrize("url", ["nats://[::1", " , "])
async def test_a_url_of_nats_that_is_not_valid_is_reported(url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, nats_url=url)
    with pytest.raises(BadSetting, match="VESTNIK_NATS_URL"):
        await act_without_nats(settings, "keys.rotate", lambda: pytest.fail("it was done"))
