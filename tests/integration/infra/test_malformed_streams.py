"""Malformed messages on a stream of calls end that stream and the calls on it, and nothing else."""

import asyncio
import logging
import random

import pytest
from grpclib import Status

from contracts.rpc.vestnik.auth.v1 import GetUserRequest, GetUserResponse
from infra.embedded.ports import free_port
from infra.rpc.multiplex import messages as wire
from infra.rpc.transport.framing import frame
from infra.security.secrets import Secrets
from tests.conditions import until
from tests.integration.infra.auth_replica import known, serving
from tests.integration.infra.multiplexed_calls import Held, ask, calling, opened


@pytest.mark.parametrize(
    "rubbish",
    [
        frame(b"\xff" * 64),
        frame(b"\x0a\xff\xff\xff\xff\x0f"),
        frame(b"\x0a\x05abc"),
        b"\x01\x00\x00\x00\x00",
        b"\x00\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=repr,
)
async def test_rubbish_ends_its_own_stream_and_the_calls_on_it(
    secrets: Secrets, rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    held, port = Held(), free_port()
    async with serving(secrets, held, port), calling(secrets, port) as client:
        decent = asyncio.create_task(ask(client, "decent"))
        await until(lambda: held.begun["decent"])
        async with opened(secrets, port) as raw:
            await raw.send(raw.call(1, "u"))
            await until(lambda: held.begun["u"])
            await raw.stream._stream.send_data(rubbish)
            assert await raw.end() is Status.INVALID_ARGUMENT
        await until(lambda: held.cut_off["u"])
        held.go.set()
        assert await decent == "decent"
    assert "Traceback" not in caplog.text


async def test_a_message_cut_anywhere_or_changed_at_random_does_no_harm(
    secrets: Secrets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    asked: set[str] = set()

    async def remember(message: GetUserRequest) -> GetUserResponse:
        asked.add(message.user_id)
        return await known(message)

    port, dice = free_port(), random.Random(8)
    async with serving(secrets, remember, port) as running, calling(secrets, port) as client:
        for _ in range(60):
            async with opened(secrets, port) as raw:
                wild = bytearray(raw.call(1, "u") + raw.call(2, "u") + wire.given_up(1))
                del wild[dice.randrange(len(wild)) :]
                for _ in range(dice.randrange(4)):
                    if wild:
                        wild[dice.randrange(len(wild))] = dice.randrange(256)
                await raw.send(bytes(wild))
        assert await ask(client) == "u"
        await until(lambda: len(running._streams) == 1 and not running._at_work.count)
    assert asked == {"u"}
    assert "Traceback" not in caplog.text


async def test_a_number_that_is_used_twice_ends_the_stream(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    for number in (1, 0):
        async with serving(secrets, held, port), opened(secrets, port) as raw:
            await raw.send(raw.call(1, "u") + raw.call(number, "u"))
            assert await raw.end() is Status.INVALID_ARGUMENT


async def test_a_method_that_is_not_there_or_streams_is_not_carried(secrets: Secrets) -> None:
    port = free_port()
    async with serving(secrets, known, port), opened(secrets, port) as raw:
        await raw.send(raw.call(1, "u", method="/vestnik.auth.v1.AuthService/Nothing"))
        await raw.send(raw.call(2, "u", method=wire.PATH))
        assert {(await raw.answer()).status for _ in range(2)} == {Status.UNIMPLEMENTED.value}
