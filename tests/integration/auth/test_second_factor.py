"""Two-step verification over the streams: set-up, logins, what ends it, and what attackers try."""

import asyncio
from datetime import datetime, timedelta

import msgspec
import pyotp
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import Provenance
from contracts.errors import (
    InvalidCredentials,
    InvalidTotp,
    RateLimited,
    TotpAlreadyOn,
    TotpNotBegun,
    TotpRequired,
    Unavailable,
    VestnikError,
)
from contracts.events.login_failure import LoginFailed
from contracts.events.second_factor import TotpConfirmed, TotpRemoved
from contracts.values.ids import new_id
from infra.security.secrets import Secrets
from services.auth.login import LoggedIn
from streams.log import Log
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import PASSWORD, Auth, Clock, stored

BY_ANNA = Provenance(correlation_id="request")
STEP = timedelta(seconds=30)


class Person:
    """Anna, who has an account with two-step verification, and everything that she knows."""

    def __init__(self, user_id: str, secret: str, recovery_codes: list[str], device_token: str) -> None:
        self.user_id = user_id
        self.secret = secret
        self.recovery_codes = recovery_codes
        self.device_token = device_token

    def code(self, at: datetime) -> str:
        return pyotp.TOTP(self.secret).at(at)


async def register(auth: Auth) -> str:
    user = await auth.commands.register(
        email="anna@example.org", username="anna", password=PASSWORD, display_name=None, provenance=BY_ANNA
    )
    await auth.commands.verify_email(await auth.token("anna@example.org"), BY_ANNA)
    return user.user_id


async def turn_on(auth: Auth, user_id: str) -> Person:
    begun = await auth.second_factors.begin(user_id=user_id, password=PASSWORD, provenance=BY_ANNA)
    code = pyotp.TOTP(begun.secret).at(auth.clock())
    session_id = new_id()
    confirmed = await auth.second_factors.confirm(user_id=user_id, code=code, session_id=session_id, provenance=BY_ANNA)
    return Person(user_id, begun.secret, confirmed.recovery_codes, confirmed.device_token)


async def log_in(
    auth: Auth,
    totp: str = "",
    *,
    device_token: str = "",
    password: str = PASSWORD,
    known_device_only: bool = False,
    codes_limited: bool = False,
    sessions: NoSessions | None = None,
) -> LoggedIn:
    return await auth.login(sessions or NoSessions()).login(
        login="anna",
        password=password,
        device="phone",
        address="192.0.2.1",
        device_token=device_token,
        known_device_only=known_device_only,
        totp=totp,
        proved_device_only=codes_limited,
    )


async def outcome(
    auth: Auth, totp: str = "", *, device_token: str = "", known_device_only: bool = False, codes_limited: bool = False
) -> str:
    """`ok`, or the code of the error."""
    try:
        await log_in(
            auth,
            totp,
            device_token=device_token,
            known_device_only=known_device_only,
            codes_limited=codes_limited,
        )
    except VestnikError as error:
        return error.code
    return "ok"


@pytest_asyncio.fixture
async def anna(replicas: tuple[Auth, Auth], clock: Clock) -> Person:
    person = await turn_on(replicas[0], await register(replicas[0]))
    # The code of the confirmation is spent; the next two steps are not.
    clock.forward(STEP)
    return person


async def test_a_login_needs_a_code_and_the_session_knows_of_it(replicas: tuple[Auth, Auth], clock: Clock) -> None:
    auth, sessions = replicas[0], NoSessions()
    user_id = await register(auth)
    await log_in(auth, sessions=sessions)
    begun = await auth.second_factors.begin(user_id=user_id, password=PASSWORD, provenance=BY_ANNA)
    # Nothing has changed: the set-up may be abandoned.
    await log_in(auth, "any code", sessions=sessions)
    code = pyotp.TOTP(begun.secret).at(clock())
    await auth.second_factors.confirm(user_id=user_id, code=code, session_id=new_id(), provenance=BY_ANNA)
    with pytest.raises(TotpRequired):
        await log_in(auth, sessions=sessions)
    clock.forward(STEP)
    with pytest.raises(InvalidCredentials):
        await log_in(auth, pyotp.TOTP(begun.secret).at(clock()), password="wrong password")
    await log_in(auth, pyotp.TOTP(begun.secret).at(clock()), sessions=sessions)
    assert sessions.logins == [(True, False), (True, False), (True, True)]


async def test_no_event_and_no_answer_shows_a_secret_or_a_code(
    replicas: tuple[Auth, Auth], anna: Person, streams: NATS, clock: Clock
) -> None:
    await log_in(replicas[0], anna.code(clock()))
    await log_in(replicas[0], anna.recovery_codes[0])
    messages = await Log(streams).read(subjects.second_factor(anna.user_id))
    assert [message.open().type for message in messages] == [
        "totp.begun",
        "totp.confirmed",
        "totp.used",
        "recovery_code.used",
    ]
    for message in messages:
        text = msgspec.json.encode(message.open().data).decode()
        assert anna.secret not in text
        assert not [code for code in anna.recovery_codes if code in text or code.replace("-", "") in text]


async def test_of_two_logins_with_one_code_at_two_replicas_one_succeeds(
    replicas: tuple[Auth, Auth], anna: Person, clock: Clock
) -> None:
    for code in (anna.code(clock()), anna.recovery_codes[0]):
        outcomes = await asyncio.gather(*(outcome(auth, code) for auth in replicas * 4))
        assert sorted(outcomes) == ["invalid_totp"] * 7 + ["ok"]
        assert await outcome(replicas[1], code) == "invalid_totp"


async def test_a_spent_code_stays_spent_after_a_restart_and_whatever_the_clock_says(
    replicas: tuple[Auth, Auth], anna: Person, streams: NATS, secrets: Secrets, clock: Clock
) -> None:
    early, late = anna.code(clock()), anna.code(clock() + STEP)
    assert await outcome(replicas[0], late) == "ok"
    fresh = Auth(streams, secrets, clock)
    try:
        clock.forward(-STEP)
        for code in (late, early):
            assert await outcome(fresh, code) == "invalid_totp"
    finally:
        fresh.passwords.close()


@pytest.mark.parametrize(
    ("steps", "expected"), [(-2, "invalid_totp"), (-1, "ok"), (0, "ok"), (1, "ok"), (2, "invalid_totp")]
)
async def test_the_clock_of_a_phone_may_be_one_step_off(
    replicas: tuple[Auth, Auth], anna: Person, clock: Clock, steps: int, expected: str
) -> None:
    clock.forward(10 * STEP)
    assert await outcome(replicas[0], anna.code(clock() + steps * STEP)) == expected


async def test_codes_are_read_as_people_write_them(replicas: tuple[Auth, Auth], anna: Person, clock: Clock) -> None:
    code = anna.code(clock())
    assert await outcome(replicas[0], f" {code[:3]} {code[3:]}\u00a0") == "ok"
    clock.forward(STEP)
    arabic = anna.code(clock()).translate({ord("0") + digit: 0x660 + digit for digit in range(10)})
    assert await outcome(replicas[0], arabic) == "ok"
    assert await outcome(replicas[0], anna.recovery_codes[0].replace("-", " ").upper()) == "ok"
    for wrong in ("0" * 7, "x", "-", "½" * 6, "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")):
        assert await outcome(replicas[0], wrong) == "invalid_totp"


async def test_a_device_that_proved_a_code_is_remembered_for_thirty_days(
    replicas: tuple[Auth, Auth], anna: Person, clock: Clock
) -> None:
    sessions = NoSessions()
    logged_in = await log_in(replicas[0], anna.code(clock()))
    for auth in replicas:
        again = await log_in(auth, device_token=logged_in.device_token, sessions=sessions)
        assert again.device_token == logged_in.device_token
    assert sessions.logins == [(False, True)] * 2
    # The device that confirmed the set-up is, too.
    assert await outcome(replicas[0], device_token=anna.device_token) == "ok"
    clock.forward(timedelta(days=30))
    assert await outcome(replicas[0], device_token=logged_in.device_token) == "totp_required"
    assert await outcome(replicas[0], anna.code(clock()), device_token=logged_in.device_token) == "ok"


async def test_any_change_of_it_and_any_change_of_the_password_forgets_the_devices(
    replicas: tuple[Auth, Auth], anna: Person, clock: Clock
) -> None:
    auth = replicas[0]
    logged_in = await log_in(auth, anna.code(clock()))
    await auth.second_factors.end(
        user_id=anna.user_id,
        password=PASSWORD,
        code=anna.recovery_codes[0],
        session_id=new_id(),
        provenance=BY_ANNA,
    )
    assert await outcome(replicas[1]) == "ok"
    again = await turn_on(replicas[1], anna.user_id)
    assert await outcome(auth, device_token=logged_in.device_token) == "totp_required"
    # Nor are the codes of the earlier secret good.
    clock.forward(STEP)
    for code in (anna.code(clock()), anna.recovery_codes[1]):
        assert await outcome(auth, code) == "invalid_totp"
    credential = (await auth.aggregates.credentials.load(anna.user_id)).state
    assert auth.devices.find(again.device_token, anna.user_id, credential.generation) is not None
    assert auth.devices.find(again.device_token, anna.user_id, credential.generation + 1) is None


async def test_tokens_from_before_do_not_let_a_guesser_of_codes_past_the_limits(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    """Someone who knew the password before has collected as many device tokens as he liked."""
    auth = replicas[0]
    user_id = await register(auth)
    collected = (await log_in(auth)).device_token
    anna = await turn_on(auth, user_id)
    clock.forward(STEP)
    code = anna.code(clock())
    for tried in (code, "000000", anna.recovery_codes[0]):
        assert await outcome(auth, tried, device_token=collected, codes_limited=True) == "rate_limited"
    assert await outcome(auth, code, device_token=collected, known_device_only=True) == "ok"
    # The owner's device is let through, also when it is remembered no more.
    clock.forward(timedelta(days=31))
    code = anna.code(clock())
    assert await outcome(auth, code, device_token=anna.device_token, codes_limited=True) == "ok"


async def test_a_set_up_needs_the_password_and_a_code_of_the_last_secret(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    auth = replicas[0]
    user_id = await register(auth)

    async def confirm(code: str) -> object:
        return await replicas[1].second_factors.confirm(
            user_id=user_id, code=code, session_id=new_id(), provenance=BY_ANNA
        )

    with pytest.raises(TotpNotBegun):
        await confirm("123456")
    with pytest.raises(InvalidCredentials):
        await auth.second_factors.begin(user_id=user_id, password="wrong password", provenance=BY_ANNA)
    first = await auth.second_factors.begin(user_id=user_id, password=PASSWORD, provenance=BY_ANNA)
    second = await auth.second_factors.begin(user_id=user_id, password=PASSWORD, provenance=BY_ANNA)
    with pytest.raises(InvalidTotp):
        await confirm(pyotp.TOTP(first.secret).at(clock()))
    clock.forward(timedelta(hours=1))
    with pytest.raises(TotpNotBegun):
        await confirm(pyotp.TOTP(second.secret).at(clock()))
    assert await outcome(auth) == "ok"
    anna = await turn_on(auth, user_id)
    with pytest.raises(TotpAlreadyOn):
        await auth.second_factors.begin(user_id=user_id, password=PASSWORD, provenance=BY_ANNA)
    with pytest.raises(TotpNotBegun):
        await confirm(anna.code(clock()))


async def test_only_one_of_two_confirmations_at_once_shows_recovery_codes(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    user_id = await register(replicas[0])
    begun = await replicas[0].second_factors.begin(user_id=user_id, password=PASSWORD, provenance=BY_ANNA)
    code = pyotp.TOTP(begun.secret).at(clock())
    answers = await asyncio.gather(
        *(
            auth.second_factors.confirm(user_id=user_id, code=code, session_id=new_id(), provenance=BY_ANNA)
            for auth in replicas
        ),
        return_exceptions=True,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Confirmed", "TotpNotBegun"]


async def test_it_ends_with_password_and_code_alone_and_once(
    replicas: tuple[Auth, Auth], anna: Person, streams: NATS, clock: Clock
) -> None:
    auth, session_id = replicas[0], new_id()

    async def end(code: str, password: str = PASSWORD) -> None:
        await auth.second_factors.end(
            user_id=anna.user_id, password=password, code=code, session_id=session_id, provenance=BY_ANNA
        )

    with pytest.raises(InvalidCredentials):
        await end(anna.code(clock()), "wrong password")
    for wrong in ("000000", "abcd-efgh-2345-6767", anna.code(clock() - 9 * STEP)):
        with pytest.raises(InvalidTotp):
            await end(wrong)
    for _ in range(2):
        await end(anna.code(clock()))
    removed = [message.open().data for message in await Log(streams).read(subjects.second_factor(anna.user_id))][-1]
    assert isinstance(removed, TotpRemoved)
    assert (removed.reason, removed.session_id) == ("user", session_id)
    assert await outcome(auth) == "ok"


async def test_a_removal_that_races_a_login_leaves_no_code_in_force(
    replicas: tuple[Auth, Auth], anna: Person, clock: Clock
) -> None:
    code = anna.code(clock())
    answers = await asyncio.gather(
        outcome(replicas[0], code),
        replicas[1].second_factors.remove(anna.user_id, reason="operator", provenance=BY_ANNA),
    )
    assert answers[0] == "ok"
    assert answers[1].state.secret is None
    assert [await outcome(auth) for auth in replicas] == ["ok", "ok"]


async def test_what_was_turned_on_at_another_time_than_the_reported_one_is_not_removed(
    replicas: tuple[Auth, Auth], anna: Person, streams: NATS
) -> None:
    auth = replicas[0]
    confirmed = [message.open() for message in await Log(streams).read(subjects.second_factor(anna.user_id))][-1]
    assert isinstance(confirmed.data, TotpConfirmed)
    on_since = confirmed.data.state.on_since
    assert on_since is not None
    moment, hour = timedelta(milliseconds=1), timedelta(hours=1)
    for between in ((on_since + moment, on_since + hour), (on_since - hour, on_since - moment)):
        kept = await auth.second_factors.remove(anna.user_id, reason="not_me", provenance=BY_ANNA, on_between=between)
        assert not kept.events
    assert await outcome(auth) == "totp_required"
    gone = await auth.second_factors.remove(
        anna.user_id, reason="not_me", provenance=BY_ANNA, on_between=(on_since, on_since)
    )
    assert gone.events
    assert await outcome(auth) == "ok"


async def test_without_the_keys_recovery_codes_still_work_and_other_accounts_notice_nothing(
    replicas: tuple[Auth, Auth], anna: Person, streams: NATS, secrets: Secrets, clock: Clock
) -> None:
    for file in secrets._folder.glob("totp-*.key"):
        file.unlink()
    bare = Auth(streams, secrets, clock)
    try:
        with pytest.raises(Unavailable, match="recovery code"):
            await log_in(bare, anna.code(clock()))
        assert await outcome(bare, anna.recovery_codes[0]) == "ok"
        await bare.second_factors.end(
            user_id=anna.user_id,
            password=PASSWORD,
            code=anna.recovery_codes[1],
            session_id=new_id(),
            provenance=BY_ANNA,
        )
        assert await outcome(bare) == "ok"
        with pytest.raises(Unavailable):
            await bare.second_factors.begin(user_id=anna.user_id, password=PASSWORD, provenance=BY_ANNA)
    finally:
        bare.passwords.close()


async def test_what_failed_is_recorded_with_its_reason(
    replicas: tuple[Auth, Auth], anna: Person, streams: NATS
) -> None:
    auth = replicas[0]
    await outcome(auth)
    await outcome(auth, "000000")
    await auth.failures.close()
    messages = await Log(streams).read(subjects.login_failures(anna.user_id))
    failures = [event for event in (message.open().data for message in messages) if isinstance(event, LoginFailed)]
    assert [failure.reason for failure in failures] == ["code_required", "wrong_code"]


async def test_an_unknown_login_reads_what_a_known_one_reads(replicas: tuple[Auth, Auth]) -> None:
    """As many subjects of the same kinds, so that the time of an answer tells nothing."""
    auth, asked = replicas[0], list[str]()
    await register(auth)
    last = auth.aggregates.log.last_stored

    async def counted(subject: str) -> object:
        asked.append(".".join(subject.split(".")[:3]))
        return await last(subject)

    auth.aggregates.log.last_stored = counted  # type: ignore[assignment, method-assign]
    for login in ("anna", "nobody"):
        with pytest.raises(InvalidCredentials):
            await auth.login(NoSessions()).login(login=login, password="wrong password", device="", address="")
    assert asked.count("vestnik.auth.second_factor") == 2


async def test_a_limited_login_is_refused_before_any_code(
    replicas: tuple[Auth, Auth], anna: Person, clock: Clock
) -> None:
    with pytest.raises(RateLimited):
        await log_in(replicas[0], anna.code(clock()), known_device_only=True)
    assert await outcome(replicas[0], anna.code(clock())) == "ok"


async def test_a_login_appends_nothing_for_an_account_without_it(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    await register(replicas[0])
    before = len(await stored(streams, "AUTH"))
    await log_in(replicas[0], "123456")
    assert len(await stored(streams, "AUTH")) == before
