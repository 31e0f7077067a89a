"""Requests generated from the OpenAPI document, and every answer checked against it.

A few for each route here; `EXAMPLES=200 ./just test tests/conformance/test_schemathesis.py` makes more.
"""

import asyncio
import os
import subprocess
import sys

import pytest

from tests.e2e.conftest import api
from tests.e2e.people import Api
from tests.fix_system import one_replica

__all__ = ["api"]
_EXAMPLES = os.environ.get("EXAMPLES", "2")
# Streams, which do not end, and operations that would end the session that the other requests use.
_LEFT_OUT = ("/v1/events", "/v1/ws")
_ENDS_THE_SESSION = ("sessions_end_current", "sessions_end_one", "users_change_password")
# Positions, cursors and tokens are opaque: the document cannot say which are good, and a bad one is a 422.
_OPAQUE = "positive_data_acceptance"


@pytest.mark.within(1_000)
@one_replica
async def test_every_answer_to_requests_out_of_the_document_is_as_the_document_says(api: Api) -> None:
    person = await api.person()
    phases = "examples,fuzzing" if _EXAMPLES == "2" else "examples,coverage,fuzzing"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{api.system.url}/openapi.json"]
    command += ["-H", f"Authorization: Bearer {person.access_token}", "--max-examples", _EXAMPLES, "--phases", phases]
    command += ["--exclude-path-regex", f"^({'|'.join(_LEFT_OUT)})$", "--exclude-checks", _OPAQUE]
    command += ["--request-timeout", "60", "--seed", "1", "--no-color"]
    for operation in _ENDS_THE_SESSION:
        command += ["--exclude-operation-id", operation]
    completed = await asyncio.to_thread(
        subprocess.run, command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False
    )
    assert completed.returncode == 0, completed.stdout[-8_000:] + completed.stderr[-2_000:]
    assert "Tested:" in completed.stdout
