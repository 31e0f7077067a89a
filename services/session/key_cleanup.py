"""Removes retired access token keys, with which no valid token is signed, while the service runs."""

import asyncio
import logging
from datetime import UTC, datetime

from infra.operator_errors import OperatorError
from infra.security.access_keys import AccessKeys

log = logging.getLogger(__name__)
_EVERY = 5.0


async def remove_retired_keys(keys: AccessKeys) -> None:
    """Polls every 5 s until cancelled. If keys cannot be removed they stay, with one warning until it works again."""
    logged = False
    while True:
        try:
            for key_id in await asyncio.to_thread(keys.tidy, datetime.now(UTC)):
                log.info("removed the retired access key %s", key_id)
            logged = False
        except (OSError, ValueError, OperatorError) as error:
            if not logged:
                log.warning("retired access keys cannot be removed: %s", error)
                logged = True
        await asyncio.sleep(_EVERY)
