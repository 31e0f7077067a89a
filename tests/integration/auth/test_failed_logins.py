"""Failed logins: recorded outside of the answer, bounded, without anything that was typed."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest
from nats.aio.client import Client as NATS

from contracts import envelope
from contracts.envelope import seal
from contracts.errors import EmailNotVerified, InvalidCredentials, PasswordRequired, RateLimited, VestnikError
from contracts.events.login_failure import LoginFailed
from contracts.subjects import AUTH, login_failures
from services.auth.failures import failed_logins
from services.auth.failures.domain import ORIGINS, PAUSE, SINGLES
from services.auth.failures.failed_logins import FailedLogins
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import PASSWORD, Auth, Clock

Replicas = tuple[Auth, Auth]
SECRET = "hunter2 is my password"


async def anna(auth: Auth, *, verified: bool = True) -> str:
    registered = await auth.commands.register(
        email="anna@example.org",
        username="anna",
        password=PASSWORD,
        display_name=None,
        provenance=envelope.Provenance(),
    )
    if verified:
        await auth.commands.verify_email(await auth.token("anna@example.org"), envelope.Provenance())
    return registered.user_id


async def fail(
    auth: Auth, login: str = "anna", password: str = SECRET, *, device_token: str = "", known_device_only: bool = False
) -> VestnikError:
    logins = auth.login(NoSessions())
    with pytest.raises(VestnikError) as raised:
        await logins.login(
            login=login,
            password=password,
            device="a phone",
            address="192.0.2.1",
            device_token=device_token,
            known_device_only=known_device_only,
        )
    return raised.value


async def failures(auth: Auth, account: str) -> list[LoginFailed]:
    messages = await auth.aggregates.log.read(login_failures(account))
    events = [message.open().data for message in messages]
    return [event for event in events if isinstance(event, LoginFailed)]


async def test_each_kind_of_failed_login_is_recorded_with_its_origin(replicas: Replicas) -> None:
    auth, _ = replicas
    user_id = await anna(auth, verified=False)
    assert isinstance(await fail(auth, password=PASSWORD), EmailNotVerified)
    await auth.commands.verify_email(await auth.token("anna@example.org"), envelope.Provenance())
    assert isinstance(await fail(auth), InvalidCredentials)
    assert isinstance(await fail(auth, password=PASSWORD, known_device_only=True), RateLimited)
    assert isinstance(await fail(auth, "boris"), InvalidCredentials)
    assert isinstance(await fail(auth, "boris@example.org", known_device_only=True), RateLimited)
    await auth.failures.flush()
    known, unknown = await failures(auth, user_id), await failures(auth, "unknown")
    assert [event.reason for event in known] == ["email_not_verified", "wrong_password", "rate_limited"]
    assert [event.reason for event in unknown] == ["unknown_login", "rate_limited"]
    assert {event.user_id for event in known} == {user_id}
    assert {event.user_id for event in unknown} == {None}
    assert {(event.address, event.device, event.count) for event in known + unknown} == {("192.0.2.1", "a phone", 1)}


async def test_a_wrong_current_password_at_a_change_is_recorded(replicas: Replicas) -> None:
    auth, _ = replicas
    user_id = await anna(auth)
    with pytest.raises(InvalidCredentials):
        await auth.changes(NoSessions()).change(
            user_id=user_id,
            current=SECRET,
            new="another password",
            session_id="",
            provenance=envelope.Provenance(),
            address="192.0.2.7",
        )
    await auth.failures.flush()
    assert [(event.reason, event.address) for event in await failures(auth, user_id)] == [
        ("wrong_password", "192.0.2.7")
    ]


async def test_a_wrong_password_of_one_of_several_registrations_is_recorded_and_a_missing_one_is_not(
    replicas: Replicas,
) -> None:
    auth, _ = replicas
    user_id = await anna(auth, verified=False)
    token = await auth.token("anna@example.org")
    await auth.commands.register(
        email="anna@example.org",
        username="intruder",
        password="another password",
        display_name=None,
        provenance=envelope.Provenance(),
    )
    for password in (None, SECRET):
        with pytest.raises(PasswordRequired):
            await auth.commands.verify_email(token, envelope.Provenance(), password=password, address="192.0.2.8")
    await auth.failures.flush()
    assert [(event.reason, event.address) for event in await failures(auth, user_id)] == [
        ("wrong_password", "192.0.2.8")
    ]


async def test_nothing_that_was_typed_gets_into_the_stream_or_the_logs(
    replicas: Replicas, streams: NATS, caplog: pytest.LogCaptureFixture
) -> None:
    auth, _ = replicas
    await anna(auth)
    caplog.set_level(0)
    # Who types the password into the wrong field has typed it as the login.
    for login, password in (("anna", SECRET), (SECRET, SECRET), (SECRET, "x"), (f"{SECRET}@example.org", "x")):
        await fail(auth, login, password)
    await auth.failures.close()
    jetstream = streams.jetstream()
    end = (await jetstream.stream_info(AUTH)).state.last_seq
    stored = [await jetstream.get_msg(AUTH, sequence) for sequence in range(1, end + 1)]
    assert sum(message.subject.startswith("vestnik.auth.login_failures.") for message in stored if message.subject) == 4
    for message in stored:
        assert b"hunter2" not in (message.data or b"") + str(message.headers).encode() + str(message.subject).encode()
    assert "hunter2" not in caplog.text


async def test_a_failed_login_awaits_the_same_steps_for_a_known_and_an_unknown_login(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth, _ = replicas
    await anna(auth)
    log = auth.aggregates.log
    steps: list[str] = []

    def counted(name: str, call: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def step(*arguments: object, **options: object) -> object:
            steps.append(name)
            return await call(*arguments, **options)

        return step

    for name in ("append", "append_together", "last_stored", "read"):
        monkeypatch.setattr(log, name, counted(name, getattr(log, name)))
    monkeypatch.setattr(auth.passwords, "matches", counted("matches", auth.passwords.matches))
    awaited = []
    for login in ("anna", "boris"):
        for known_device_only in (False, True):
            await fail(auth, login, known_device_only=known_device_only)
            steps.clear()
            await fail(auth, login, known_device_only=known_device_only)
            awaited.append(list(steps))
    assert awaited[:2] == awaited[2:]
    assert "append" not in awaited[0]
    assert awaited[0].count("matches") == 1


async def test_a_flood_on_one_account_and_over_unknown_logins_causes_few_events_by_two_replicas(
    replicas: Replicas, clock: Clock
) -> None:
    one, other = replicas
    user_id = await anna(one)
    for number in range(10_000):
        auth = replicas[number % 2]
        auth.failures.record(user_id, "wrong_password", address=f"198.51.100.{number % 250}", device=f"d{number}")
        auth.failures.record(None, "unknown_login", address="198.51.100.9", device="x")
        if number % 2_500 == 0:
            await asyncio.gather(one.failures.flush(), other.failures.flush())
    await asyncio.gather(one.failures.flush(), other.failures.flush())
    for account in (user_id, "unknown"):
        before = await failures(one, account)
        assert len(before) == SINGLES, account
        assert [event.number for event in before] == list(range(1, SINGLES + 1))
    clock.forward(PAUSE)
    await asyncio.gather(one.failures.flush(), other.failures.flush())
    clock.forward(PAUSE)
    await asyncio.gather(one.failures.flush(), other.failures.flush())
    for account in (user_id, "unknown"):
        after = await failures(one, account)
        assert sum(event.count for event in after) == 10_000, account
        assert len(after) <= SINGLES + 2 * (ORIGINS + 1), account


async def test_failures_wait_while_the_event_store_does_not_answer_and_logins_answer_as_ever(
    replicas: Replicas, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth, _ = replicas
    user_id = await anna(auth)
    await fail(auth)
    with monkeypatch.context() as outage:

        async def unreachable(*_: object) -> None:
            raise RateLimited("any error of the event store")

        outage.setattr(auth.aggregates.log, "append", unreachable)
        outage.setattr(auth.aggregates.log, "append_together", unreachable)
        await auth.failures.flush()
        assert isinstance(await fail(auth), InvalidCredentials)
        await auth.failures.flush()
    assert await failures(auth, user_id) == []
    clock.forward(timedelta(minutes=1))
    await auth.failures.flush()
    recorded = await failures(auth, user_id)
    assert [event.number for event in recorded] == [1, 2]
    assert all(event.since is not None for event in recorded)


async def test_what_waits_is_bounded_and_what_is_left_out_is_logged(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    auth, _ = replicas
    monkeypatch.setattr(failed_logins, "_MOST_QUEUED", 7)
    monkeypatch.setattr(failed_logins, "_MOST_ACCOUNTS", 3)
    for number in range(10):
        auth.failures.record(f"user-{number}", "wrong_password", address="192.0.2.1")
    await auth.failures.flush()
    recorded = [await failures(auth, f"user-{number}") for number in range(10)]
    assert [len(events) for events in recorded] == [1] * 3 + [0] * 7
    assert "7 failed logins are not recorded" in caplog.text
    auth.failures.record("user-9", "wrong_password", address="192.0.2.1")
    await auth.failures.flush()
    assert len(await failures(auth, "user-9")) == 1


async def test_an_account_whose_last_event_cannot_be_read_stops_neither_the_others_nor_the_process(
    replicas: Replicas, streams: NATS, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    auth, _ = replicas
    later = seal(
        LoginFailed(user_id="anna", reason="wrong_password", address="", device="", number=1),
        aggregate_id="anna",
        version=1,
        provenance=envelope.Provenance(),
    )
    newer = msgspec.structs.replace(later, schema=LoginFailed.SCHEMA + 1)
    await streams.request(login_failures("anna"), envelope.encode(newer))
    await streams.request(login_failures("boris"), b"no event")
    for account in ("anna", "boris", "clara"):
        auth.failures.record(account, "wrong_password", address="192.0.2.1")
    await auth.failures.flush()
    assert len(await failures(auth, "clara")) == 1
    assert "failed logins of anna cannot be recorded" in caplog.text
    assert "failed logins of boris cannot be recorded" in caplog.text
    caplog.clear()
    await auth.failures.flush()
    assert caplog.text == ""
    clock.forward(PAUSE)
    await auth.failures.flush()
    assert "failed logins of anna cannot be recorded" in caplog.text


async def test_a_clean_stop_records_counts_that_were_not_due(replicas: Replicas) -> None:
    auth, other = replicas
    for number in range(SINGLES + 7):
        auth.failures.record("anna", "wrong_password", address="192.0.2.1", device="phone")
        if number == SINGLES - 1:
            await auth.failures.flush()
    await auth.failures.flush()
    assert len(await failures(auth, "anna")) == SINGLES
    await auth.failures.close()
    *_, last = await failures(other, "anna")
    assert (last.count, last.address, last.device) == (7, "192.0.2.1", "phone")


@pytest.mark.parametrize(("keeps", "kept"), [("prefix", "192.0.2.0/24"), ("none", "")])
async def test_addresses_are_recorded_as_the_privacy_setting_says(replicas: Replicas, keeps: str, kept: str) -> None:
    auth, _ = replicas
    recorder = FailedLogins(auth.aggregates.login_failures, keeps_addresses=keeps)  # type: ignore[arg-type]  # a literal
    recorder.record("anna", "wrong_password", address="192.0.2.77")
    await recorder.flush()
    assert [event.address for event in await failures(auth, "anna")] == [kept]
