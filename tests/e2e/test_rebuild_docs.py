"""The commands of the how-tos and the runbook on rebuilds, run as written."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from contracts.values.ids import pair_id
from tests.e2e.documented_commands import blocks
from tests.e2e.people import Api
from tests.fix_system import ROOT

PAST = "docs/howto/look-at-the-past.md"


def typed(api: Api, page: str, at: str, conversation_id: str) -> subprocess.CompletedProcess[str]:
    own = {
        "AT": at,
        "CONVERSATION_ID": conversation_id,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks(ROOT / page))],
        cwd=ROOT,
        env=api.system.environment | own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize(
    "page", ["docs/howto/rebuild-a-read-model.md", "docs/runbooks/bad-deploy-of-a-projection.md", PAST]
)
async def test_every_command_works_as_it_is_shown(own_api: Api, page: str) -> None:
    anna, boris = await own_api.friends()
    await anna.sends(boris, "one", "two")
    # So that there is a build of before, wherever the page begins.
    before = await asyncio.to_thread(own_api.system.vestnik, "rebuild", "conversations")
    assert before.returncode == 0, before.stderr
    conversation_id = pair_id(anna.user_id, boris.user_id)
    done = await asyncio.to_thread(typed, own_api, page, datetime.now(UTC).isoformat(), conversation_id)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert [message["text"] for message in await anna.messages(boris)] == ["two", "one"]
    if page == PAST:
        with psycopg.connect(own_api.system.database_url(), autocommit=True) as connection:
            answers = [
                connection.execute(query.encode()).fetchall()
                for block in blocks(ROOT / page, "sql")
                for query in block.split(";")
                if query.strip()
            ]
            connection.execute("DROP SCHEMA january CASCADE")
        assert len(answers) == 3
        assert len(answers[0]) >= 2
        assert answers[1] == []
        assert "conversations version" in str(answers[2])
