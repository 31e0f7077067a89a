"""Who did and saw what, for the page: the newest first, each once, with how acts ended."""

import asyncio
import signal
import sys

import pytest
from nats.aio.client import Client

from contracts.errors import Invalid
from infra.history.operator_audit import Query, audit_rows
from services.operator.actions import page
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from streams.log import Log

ANNA = Actor(name="Anna", user_id="01890a5d-ac96-774b-bcce-b302099a8057", channel="page", address="192.0.2.7")
ROOT = Actor(name="root", user_id=None, channel="command_line", address="host-1")
EVERYTHING = Query()
_KILLED = """
import asyncio, sys
from infra.runtime.connections import connect_nats
from infra.settings import Settings
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from streams.log import Log

async def main():
    nc = await connect_nats(Settings(nats_url=sys.argv[1]), "operator-test")
    actor = Actor(name="root", user_id=None, channel="command_line", address="host-1")
    async with Recorder(Log(nc)).acting(actor, "read_model.rebuild", target="friends"):
        print("begun", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_paging_shows_every_act_and_look_once_with_the_ends_of_acts(streams: Client) -> None:
    recorder = Recorder(Log(streams))
    # It ends after everything else, on the first page, and begins on the last.
    long_act = await recorder.begin(ROOT, "read_model.rebuild", target="friends")
    for number in range(20):
        await recorder.look(ANNA, "person", filter_={"user": f"user{number}"})
    async with recorder.acting(ANNA, "report.settle", target="r", reason="spam"):
        pass
    await recorder.end(long_act)
    rows, cursor = [], ""
    while True:
        audit_page = await page.newest(streams, EVERYTHING, limit=5, cursor=cursor)
        rows += audit_page.items
        if audit_page.older is None:
            break
        assert len(audit_page.items) == 5
        cursor = audit_page.older
    assert [row.filter["user"] for row in rows if row.filter] == [f"user{number}" for number in reversed(range(20))]
    assert [(row.action, row.outcome) for row in (rows[0], rows[-1])] == [
        ("report.settle", "done"),
        ("read_model.rebuild", "done"),
    ]
    assert len(rows) == 22
    assert rows == (await audit_rows(streams, EVERYTHING)).rows[::-1]


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        (Query(operator="anna"), ["person", "report.settle"]),
        (Query(operator=ANNA.user_id), ["person", "report.settle"]),
        (Query(operator="root"), ["keys.rotate"]),
        (Query(operator="nobody"), []),
        (Query(looks=False), ["report.settle", "keys.rotate"]),
        (Query(acts=False), ["person"]),
        (Query(action="keys.rotate"), ["keys.rotate"]),
    ],
)
async def test_filters_select_by_operator_and_kind(streams: Client, query: Query, actions: list[str]) -> None:
    recorder = Recorder(Log(streams))
    await recorder.look(ANNA, "person", filter_={"user": "carol"})
    async with recorder.acting(ANNA, "report.settle"):
        pass
    async with recorder.acting(ROOT, "keys.rotate"):
        pass
    rows = (await audit_rows(streams, query)).rows
    assert [row.action or row.what for row in rows] == actions
    assert (await page.newest(streams, query, limit=10, cursor="")).items == rows[::-1]


@pytest.mark.parametrize("cursor", ["!", "bm90IGpzb24", "eyJzZXF1ZW5jZSI6Im9uZSJ9", "x" * 5_000])
async def test_a_forged_cursor_is_refused(streams: Client, cursor: str) -> None:
    with pytest.raises(Invalid):
        await page.newest(streams, EVERYTHING, limit=10, cursor=cursor)


async def test_an_act_that_is_killed_stays_open(streams: Client) -> None:
    url = streams.connected_url
    assert url is not None
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _KILLED, url.geturl(), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"begun\n"
    child.send_signal(signal.SIGKILL)
    await child.wait()
    (row,) = (await page.newest(streams, EVERYTHING, limit=10, cursor="")).items
    assert (row.action, row.target, row.outcome) == ("read_model.rebuild", "friends", None)
