"""A control that an operator asks for over REST is answered before the request's deadline, whatever holds it up."""

import time

import pytest
from nats.aio.client import Client

from contracts.errors import DeadlineExceeded, Invalid, MaintenanceUnderWay, Unavailable
from contracts.events.operator import OperatorActionEnded
from contracts.positions import Position
from contracts.rpc.vestnik.operator.v1 import ControlProjectionRequest
from contracts.subjects import MESSAGING, operator_action
from infra.rpc.call_context import Call, enter
from infra.security.service_schemas import CachedSchemas
from infra.settings import Settings
from projections.engine.controls.reset import ReadersBusy
from projections.engine.controls.waiting import WriterBusy
from projections.engine.reading.operator_events import operator_events
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage.connections import connect, rebuild_lock, try_lock
from projections.engine.storage.schema import ensure_schema
from projections.friends import Friends
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Act, Recorder
from services.operator.controls import Control, Controlled, Controls
from services.operator.handlers.maintenance import MaintenanceHandlers
from services.operator.maintenance import Maintenance
from streams.log import Log
from tests.fix_postgres import Pool
from tests.integration.projections.conftest import run, writer
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters

OPERATOR = Actor(name="anna", user_id="01890a5d-ac96-774b-bcce-b302099a8057", channel="page", address="")
__all__ = ["run", "writer"]
SECONDS = 4.0


async def test_a_control_ends_before_the_deadline_of_its_request(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(1), 2)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    controls = Controls(streams, Log(streams), CachedSchemas(database_url))

    async def ask(control: Control) -> Controlled:
        begun = time.monotonic()
        enter(Call(request_id="a test", deadline=begun + SECONDS))
        try:
            return await controls.run(
                control,
                Letters,
                "a test",
                Act("an id", OPERATOR, 1),
            )
        finally:
            assert time.monotonic() - begun < SECONDS

    async with pool.connection() as other:
        async with other.transaction():
            await other.execute("SELECT FROM projection_builds FOR SHARE")
            with pytest.raises(WriterBusy):
                await ask(Control.PAUSE)
        async with other.transaction():
            await other.execute("SELECT FROM letters_v1")
            with pytest.raises(ReadersBusy):
                await ask(Control.RESET)
        async with other.transaction():
            await other.execute("LOCK TABLE projection_pauses IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DeadlineExceeded, match=r"`resume` took longer than 3 s; the status says whether"):
                await ask(Control.RESUME)
    paused = await ask(Control.PAUSE)
    assert paused.position == {MESSAGING: last}
    async with pool.connection() as other:
        row = await (await other.execute("SELECT paused_by FROM projection_pauses")).fetchone()
        assert row == (OPERATOR.user_id,)
    await ask(Control.RESUME)
    reset = await ask(Control.RESET)
    assert (reset.build, reset.replaced, reset.kept) == (2, 1, 1)


async def test_what_uses_the_build_is_named_with_a_status_of_its_own(streams: Client, database_url: str) -> None:
    log = Log(streams)
    recorder = Recorder(log)
    controls = Controls(streams, log, CachedSchemas(database_url))
    handlers = MaintenanceHandlers(Maintenance(Settings(), recorder), controls, recorder)

    async def ask(control: str) -> None:
        enter(Call(request_id="a test", deadline=time.monotonic() + SECONDS))
        request = ControlProjectionRequest(projection="friends", control=control, reason="a test")
        await handlers.control(request, OPERATOR)

    other = await connect(database_url, "a test")
    async with other:
        await ensure_schema(other)
        assert await try_lock(other, rebuild_lock(Friends))
        with pytest.raises(MaintenanceUnderWay, match="friends is being built already, by a rebuild or a reset"):
            await ask("reset")
        with pytest.raises(Invalid, match="is not paused"):
            await ask("resume")
        await start_build(other, Friends)
        async with other.transaction():
            await other.execute("SELECT FROM projection_builds FOR SHARE")
            with pytest.raises(Unavailable, match="a rebuild of it is running and writes; nothing was done") as busy:
                await ask("pause")
            assert busy.value.retry_after == 1
    messages = await operator_events(streams, operator_action("*"), name="acts")
    ends = [message.open().data for message in messages]
    assert [end.outcome for end in ends if isinstance(end, OperatorActionEnded)] == ["failed"] * 3
