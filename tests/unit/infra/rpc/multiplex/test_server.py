"""The server side of a stream of calls by itself."""

import asyncio
import time
from typing import Any, cast

from grpclib import Status
from grpclib.const import Cardinality, Handler

from contracts.rpc.vestnik.calls.v1 import Answers, Calls
from infra.rpc.multiplex import messages
from infra.rpc.multiplex.server import CallServer, Method
from infra.rpc.service_tokens import Credential
from infra.rpc.transport.in_flight import InFlightCalls

WITHIN = 60.0


class Guard:
    def authenticate_call(self, authorization: str, party: str) -> Credential:
        return Credential(service=party, user=None, expires_at=time.time() + WITHIN)

    def user_field(self, *_: object) -> None:
        return None


async def test_a_call_whose_work_was_cancelled_by_another_is_answered() -> None:
    """For example a shared read: its caller would otherwise wait until its deadline."""
    shared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    shared.cancel()

    async def work(_: object) -> None:
        await shared

    method = Method(Handler(work, Cardinality.UNARY_UNARY, Calls, Answers), {"gateway": None})
    server = CallServer(
        cast(Any, None), "gateway", {"/p.S/M": method}, cast(Any, Guard()), InFlightCalls(), longest=WITHIN
    )
    (call,), _ = messages.read_calls(messages.call(1, "/p.S/M", b"", timeout=WITHIN, metadata={}))
    server._begin(call)
    async with asyncio.timeout(WITHIN):
        await server._idle.wait()
    (answer,), _ = messages.read_answers(server._outbox._next())
    assert answer.status == Status.DEADLINE_EXCEEDED.value
    server._deadlines.stop()


async def test_a_call_that_its_caller_has_given_up_is_not_answered() -> None:
    started = asyncio.Event()

    async def work(_: object) -> None:
        started.set()
        await asyncio.sleep(WITHIN)

    method = Method(Handler(work, Cardinality.UNARY_UNARY, Calls, Answers), {"gateway": None})
    server = CallServer(
        cast(Any, None), "gateway", {"/p.S/M": method}, cast(Any, Guard()), InFlightCalls(), longest=WITHIN
    )
    (call,), _ = messages.read_calls(messages.call(1, "/p.S/M", b"", timeout=WITHIN, metadata={}))
    server._begin(call)
    async with asyncio.timeout(WITHIN):
        await started.wait()
        server._tasks[1].cancel()
        await server._idle.wait()
    assert not server._outbox._parts
    server._deadlines.stop()
