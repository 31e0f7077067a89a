"""Messages published on the fast path arrive like those of the client library, and are refused alike."""

import asyncio
import os
import signal
import time
from itertools import product

import nats
import pytest
import uvloop
from nats.aio.msg import Msg
from nats.errors import BadSubjectError, ConnectionClosedError, MaxPayloadError

from infra.embedded.nats_server import NatsServer
from streams.jetstream.client import Client
from streams.jetstream.requests import Inbox, RequestFailed
from tests.integration.streams.conftest import until_noticed


async def test_a_plain_client_gets_every_byte(nats_server: NatsServer) -> None:
    ours = Client()
    await ours.connect(nats_server.url)
    theirs = await nats.connect(nats_server.url)
    got: asyncio.Queue[Msg] = asyncio.Queue()
    try:
        subject = ours.new_inbox()
        await theirs.subscribe(subject, cb=got.put)
        # Its `flush` says nothing of what was pending; what comes back was sent behind the subscription.
        await theirs.publish(subject)
        await got.get()
        for headers, payload, reply in product(
            (None, {"Nats-Msg-Id": "один", "Other": "1"}),
            (b"", b"\r\nPUB other 0\r\n\r\n", bytes(range(256)) * 100),
            ("", "to.whom"),
        ):
            await ours.publish(subject, payload, reply, headers)
            async with asyncio.timeout(60):
                message = await got.get()
            assert (message.data, message.reply, message.headers) == (payload, reply, headers)
    finally:
        await ours.close()
        await theirs.close()


async def test_a_sender_that_is_cancelled_behind_a_full_buffer_is_cancelled(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    # Every message fills the buffer.
    await client.connect(nats_server.url, pending_size=1)
    sending, sent = asyncio.Event(), asyncio.Event()

    async def blocked() -> None:
        sending.set()
        await sent.wait()

    monkeypatch.setattr(client._transport, "drain", blocked)
    try:
        sender = asyncio.create_task(client.publish(client.new_inbox(), b"x"))
        async with asyncio.timeout(60):
            await sending.wait()
            sender.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sender
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await client.publish(client.new_inbox(), b"x")
            sent.set()
            await client.publish(client.new_inbox(), b"x")
    finally:
        sent.set()
        await client.close()


async def test_what_was_subscribed_to_before_a_flush_is_missed_no_more(nats_server: NatsServer) -> None:
    ours, theirs = Client(), Client()
    await ours.connect(nats_server.url)
    await theirs.connect(nats_server.url)
    got: asyncio.Queue[Msg] = asyncio.Queue()
    try:
        # A single one came through by luck nearly always.
        for _ in range(200):
            subject = ours.new_inbox()
            subscription = await ours.subscribe(subject, cb=got.put)
            await ours.flush()
            await theirs.publish(subject, b"")
            async with asyncio.timeout(60):
                await got.get()
            await subscription.unsubscribe()
    finally:
        await ours.close()
        await theirs.close()


async def test_nobody_can_put_a_command_of_the_protocol_into_a_message(nats_server: NatsServer) -> None:
    client = Client()
    await client.connect(nats_server.url)
    got: asyncio.Queue[Msg] = asyncio.Queue()
    try:
        inbox = client.new_inbox()
        await client.subscribe(f"{inbox}.>", cb=got.put)
        await client.flush()
        for bad in (f"{inbox}.a b", f"{inbox}.a\r\nPUB {inbox}.b 0\r\n", f"{inbox}.a\n", ""):
            with pytest.raises(BadSubjectError):
                await client.publish(bad, b"")
        with pytest.raises(BadSubjectError):
            await client.publish(f"{inbox}.a", b"", reply="to whom")
        with pytest.raises(MaxPayloadError):
            await client.publish(f"{inbox}.a", b" " * (client.max_payload + 1))
        await client.publish(f"{inbox}.c", b"", headers={"Name": f"1\r\n\r\nPUB {inbox}.b 0\r\n"})
        await client.publish(f"{inbox}.d", b"")
        async with asyncio.timeout(60):
            seen = [await got.get(), await got.get()]
        assert [message.subject for message in seen] == [f"{inbox}.c", f"{inbox}.d"]
        assert list(seen[0].headers or {}) == ["Name"]
        assert got.empty()
    finally:
        await client.close()
    with pytest.raises(ConnectionClosedError):
        await client.publish("after", b"")


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_connection_whose_server_has_gone_is_closed_like_any(nats_server: NatsServer, noticed: bool) -> None:
    over = asyncio.Event()

    async def closed() -> None:
        over.set()

    client = Client()
    await client.connect(nats_server.url, max_reconnect_attempts=-1, closed_cb=closed)
    await client.subscribe("subject")
    nats_server.kill()
    await nats_server.wait()
    if noticed:
        await until_noticed(client)
    await client.publish("subject", b"nobody gets it")
    await client.close()
    assert client.is_closed
    assert over.is_set()


async def test_a_connection_whose_server_reads_nothing_is_closed_like_any(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.jetstream.failover._CLOSE_SECONDS", 0.2)
    over = asyncio.Event()

    async def closed() -> None:
        over.set()

    client = Client()
    await client.connect(nats_server.url, closed_cb=closed)
    os.kill(nats_server.pid, signal.SIGSTOP)
    try:
        assert client._transport is not None
        # More than the sockets' buffers hold.
        client._transport.write(bytes(64 * 1024 * 1024))
        async with asyncio.timeout(60):
            await client.close()
    finally:
        os.kill(nats_server.pid, signal.SIGCONT)
    assert client.is_closed
    assert over.is_set()


async def test_an_error_that_the_server_ends_the_connection_with_is_no_end_of_the_client(
    nats_server: NatsServer,
) -> None:
    client, errors = Client(), list[str]()

    async def noted(error: Exception) -> None:
        errors.append(str(error))

    await client.connect(nats_server.url, max_reconnect_attempts=-1, error_cb=noted)
    got: asyncio.Queue[Msg] = asyncio.Queue()
    try:
        await client.subscribe("subject", cb=got.put)
        assert client._transport is not None
        client._transport.write(b"NONSENSE\r\n")
        async with asyncio.timeout(60):
            while not client.stats["reconnects"]:
                assert not client.is_closed
                await asyncio.sleep(0.02)
            await client.publish("subject", b"again")
            assert (await got.get()).data == b"again"
        assert any("unknown protocol operation" in error.lower() for error in errors), errors
    finally:
        await client.close()


async def test_a_process_that_did_not_run_for_a_while_does_not_take_its_server_for_a_silent_one(
    nats_server: NatsServer,
) -> None:
    client = Client()
    await client.connect(nats_server.url, ping_interval=0.05, max_outstanding_pings=2)  # type: ignore[arg-type]
    try:
        for _ in range(3):
            time.sleep(0.5)  # noqa: ASYNC251 - the loop stands still, as on a machine that is busy elsewhere
            await client.flush(60)
        assert client.stats["reconnects"] == 0
        assert client.is_connected
    finally:
        await client.close()


async def test_an_unexpected_failure_to_reconnect_is_not_the_last_attempt(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.jetstream.failover._PAUSE", 0.01)
    client, errors = Client(), list[Exception]()

    async def noted(error: Exception) -> None:
        errors.append(error)

    await client.connect(nats_server.url, max_reconnect_attempts=-1, error_cb=noted)
    begin = client._process_connect_init

    async def fail_once() -> None:
        monkeypatch.setattr(client, "_process_connect_init", begin)
        raise ValueError("Separator is not found, and chunk exceed the limit")

    monkeypatch.setattr(client, "_process_connect_init", fail_once)
    try:
        await client.force_reconnect()
        async with asyncio.timeout(60):
            while not client.stats["reconnects"]:
                await asyncio.sleep(0.02)
            await client.flush(60)
        assert any(isinstance(error, ValueError) for error in errors)
    finally:
        await client.close()


async def test_requests_that_have_no_time_left_fail_as_such_with_uvloop(nats_server: NatsServer) -> None:
    async def ask() -> list[object]:
        client = Client()
        await client.connect(nats_server.url)
        try:
            inbox = Inbox.of(client)
            return await asyncio.gather(
                *(inbox.request("of.nobody", b"", timeout=0.0) for _ in range(3)), return_exceptions=True
            )
        finally:
            await client.close()

    failures = await asyncio.to_thread(lambda: uvloop.run(ask()))
    assert [isinstance(failure, RequestFailed) for failure in failures] == [True] * 3, failures
