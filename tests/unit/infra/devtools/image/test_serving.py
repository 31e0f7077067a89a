"""What the check of the image says of a container that has ended."""

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.devtools.image import serving
from infra.devtools.image.build import Image
from infra.devtools.image.configuration import Configuration
from infra.devtools.image.serving import Container, DoesNotServe


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Container]:
    """Starts a script in place of a container."""

    def started(script: str) -> Container:
        monkeypatch.setattr(serving, "in_root", lambda *_, **__: ["sh", "-c", script])
        image = Image(tmp_path, Configuration(user="10001:10001"), "key")
        return Container(image, "messaging", {}, tmp_path, tmp_path / "messaging.log")

    return started


def test_a_container_that_has_ended_is_named_with_its_exit_code_and_its_last_lines(
    start: Callable[[str], Container],
) -> None:
    container = start("echo the port is in use; exit 3")
    assert container.exit_code() == 3
    with pytest.raises(DoesNotServe, match=r"(?s)messaging has ended with 3:.*the port is in use"):
        container.execute("vestnik", "probe", "live")
