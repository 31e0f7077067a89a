"""Why a connection to NATS is not made."""

import pytest

from contracts.errors import Unavailable
from infra.runtime.connections import connect_nats
from infra.settings import Settings

_SILENT = "does not answer"


async def failure_of(settings: Settings) -> str:
    """The reason that is reported; on a busy machine the first attempt may take longer than a short patience."""
    reason = _SILENT
    for patience in (0.5, 2.0, 8.0, 32.0):
        if _SILENT in reason:
            with pytest.raises(Unavailable) as failed:
                await connect_nats(settings, "auth-test", patience=patience)
            reason = str(failed.value)
    return reason
