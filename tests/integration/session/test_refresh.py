"""Refreshes over real streams: two concurrent ones succeed, a stolen token ends the session, with any replica."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import Provenance
from contracts.errors import InvalidRefreshToken, RefreshTokenReused, SessionNotFound
from contracts.events.session import SessionCreated
from contracts.values.addresses import Keeps
from contracts.values.ids import new_id
from infra.security.secrets import Secrets
from services.session.commands import Commands, IssuedTokens
from services.session.domain import GRACE, CreateSession
from services.session.tokens import RefreshToken, RefreshTokens
from streams.log import Append, Log
from tests.integration.auth_and_session import DAY, Clock, session_commands, stored

ANNA = new_id()
NO_ACTOR = Provenance(correlation_id="request")
LATE = GRACE + timedelta(seconds=1)


async def create(commands: Commands) -> IssuedTokens:
    command = CreateSession(user_id=ANNA, username="anna", device="phone", address="192.0.2.1")
    return await commands.create(command, NO_ACTOR)


async def refresh(commands: Commands, token: str) -> IssuedTokens:
    return await commands.refresh(token, NO_ACTOR)


async def types(nats: NATS) -> list[str]:
    return [event.type for event in await stored(nats, "SESSION")]


async def test_each_refresh_gives_the_next_tokens(replicas: tuple[Commands, Commands], streams: NATS) -> None:
    tokens = await create(replicas[0])
    seen = {tokens.refresh_token}
    for number in range(6):
        tokens = await refresh(replicas[number % 2], tokens.refresh_token)
        seen.add(tokens.refresh_token)
    assert len(seen) == 7
    assert await types(streams) == ["session.created"] + ["session.refreshed"] * 6


async def test_a_session_ends_for_good_90_days_after_its_login(
    replicas: tuple[Commands, Commands], clock: Clock
) -> None:
    tokens = await create(replicas[0])
    for number in range(4):
        clock.forward(22 * DAY)
        tokens = await refresh(replicas[number % 2], tokens.refresh_token)
    assert await replicas[0].owner_of_active(tokens.session_id) == ANNA
    clock.forward(2 * DAY)
    with pytest.raises(InvalidRefreshToken):
        await refresh(replicas[0], tokens.refresh_token)
    assert await replicas[1].owner_of_active(tokens.session_id) is None


async def test_two_at_once_get_the_same_successor(replicas: tuple[Commands, Commands], streams: NATS) -> None:
    for round_ in range(10):
        tokens = await create(replicas[round_ % 2])
        answers = await asyncio.gather(*(refresh(replicas[number % 2], tokens.refresh_token) for number in range(4)))
        assert len({answer.refresh_token for answer in answers}) == 1
        assert len({answer.access_token for answer in answers}) == 4
        assert (await refresh(replicas[0], answers[0].refresh_token)).session_id == tokens.session_id
    assert (await types(streams)).count("session.refreshed") == 20


async def test_a_spent_token_is_served_again_for_a_while_by_any_replica(
    replicas: tuple[Commands, Commands], clock: Clock
) -> None:
    one, other = replicas
    tokens = await create(one)
    await other.owner_of_active(tokens.session_id)  # the other remembers the first generation
    successor = await refresh(one, tokens.refresh_token)
    assert (await refresh(other, tokens.refresh_token)).refresh_token == successor.refresh_token
    clock.forward(LATE)
    with pytest.raises(RefreshTokenReused):
        await refresh(other, tokens.refresh_token)


async def test_a_reused_token_ends_the_session_for_everyone(replicas: tuple[Commands, Commands], streams: NATS) -> None:
    one, other = replicas
    first = await create(one)
    second = await refresh(one, first.refresh_token)
    third = await refresh(other, second.refresh_token)
    with pytest.raises(RefreshTokenReused):
        await refresh(one, first.refresh_token)
    for tokens in (first, second, third):
        with pytest.raises(InvalidRefreshToken):
            await refresh(other, tokens.refresh_token)
    assert await other.owner_of_active(first.session_id) is None
    assert (await types(streams))[-1] == "session.revoked"
    assert (await types(streams)).count("session.revoked") == 1


async def test_refreshing_and_logging_out_at_once_leaves_the_session_ended(
    replicas: tuple[Commands, Commands],
) -> None:
    one, other = replicas
    for _ in range(10):
        tokens = await create(one)
        refreshed, revoked = await asyncio.gather(
            refresh(other, tokens.refresh_token),
            one.revoke(ANNA, tokens.session_id, "logout", NO_ACTOR),
            return_exceptions=True,
        )
        assert isinstance(revoked, int)
        assert isinstance(refreshed, IssuedTokens | InvalidRefreshToken)
        assert await other.owner_of_active(tokens.session_id) is None


class Between(Log):
    """Lets something happen between a decision and its append."""

    before: Callable[[], Awaitable[object]] | None = None

    async def append_together(self, appends: Sequence[Append]) -> list[int]:
        happens, self.before = self.before, None
        if happens is not None:
            await happens()
        return await super().append_together(appends)


@pytest.fixture
def between(streams: NATS) -> Between:
    return Between(streams)


@pytest.fixture
def slow(streams: NATS, secrets: Secrets, clock: Clock, between: Between) -> Commands:
    """A replica whose decisions are old by the time they are appended."""
    return session_commands(streams, secrets, clock, log=between)


async def test_a_refresh_that_was_decided_before_the_session_ended_gets_nothing(
    slow: Commands, between: Between, replicas: tuple[Commands, Commands], streams: NATS
) -> None:
    tokens = await create(replicas[1])
    between.before = lambda: replicas[1].revoke(ANNA, tokens.session_id, "logout", NO_ACTOR)
    with pytest.raises(InvalidRefreshToken):
        await refresh(slow, tokens.refresh_token)
    assert await types(streams) == ["session.created", "session.revoked"]


async def test_an_end_that_was_decided_before_a_refresh_still_ends_the_session(
    slow: Commands, between: Between, replicas: tuple[Commands, Commands]
) -> None:
    tokens = await create(replicas[1])
    refreshed: list[IssuedTokens] = []

    async def refreshes() -> None:
        refreshed.append(await refresh(replicas[1], tokens.refresh_token))

    between.before = refreshes
    await slow.revoke(ANNA, tokens.session_id, "logout", NO_ACTOR)
    for token in (tokens, refreshed[0]):
        with pytest.raises(InvalidRefreshToken):
            await refresh(replicas[1], token.refresh_token)


async def test_of_two_refreshes_of_one_token_the_later_append_gets_the_tokens_of_the_earlier(
    slow: Commands, between: Between, replicas: tuple[Commands, Commands], streams: NATS
) -> None:
    tokens = await create(replicas[1])
    first: list[IssuedTokens] = []

    async def refreshes() -> None:
        first.append(await refresh(replicas[1], tokens.refresh_token))

    between.before = refreshes
    second = await refresh(slow, tokens.refresh_token)
    assert second.refresh_token == first[0].refresh_token
    assert (await types(streams)).count("session.refreshed") == 1


async def test_a_refresh_that_was_decided_before_its_token_was_spent_twice_over_ends_the_session(
    slow: Commands, between: Between, replicas: tuple[Commands, Commands]
) -> None:
    """By then its successor has been used, so another client has the session."""
    tokens = await create(replicas[1])

    async def refreshes_twice() -> None:
        successor = await refresh(replicas[1], tokens.refresh_token)
        await refresh(replicas[1], successor.refresh_token)

    between.before = refreshes_twice
    with pytest.raises(RefreshTokenReused):
        await refresh(slow, tokens.refresh_token)
    assert await replicas[1].owner_of_active(tokens.session_id) is None


@pytest.mark.parametrize(("keeps", "kept"), [("full", "192.0.2.1"), ("prefix", "192.0.2.0/24"), ("none", "")])
async def test_no_more_of_an_address_is_recorded_than_the_setting_allows(
    streams: NATS, secrets: Secrets, keeps: Keeps, kept: str
) -> None:
    commands = session_commands(streams, secrets, keeps_addresses=keeps)
    tokens = await create(commands)
    (message,) = await Log(streams).read(subjects.session(tokens.session_id))
    created = message.open().data
    assert isinstance(created, SessionCreated)
    assert created.address == kept


async def test_a_session_is_ended_once_and_by_its_user_alone(replicas: tuple[Commands, Commands]) -> None:
    one, other = replicas
    tokens = await create(one)
    with pytest.raises(SessionNotFound):
        await other.revoke(new_id(), tokens.session_id, "logout", NO_ACTOR)
    end = await other.revoke(ANNA, tokens.session_id, "logout", NO_ACTOR)
    # The same request again, whose answer was lost.
    assert await one.revoke(ANNA, tokens.session_id, "logout", NO_ACTOR) == end
    with pytest.raises(SessionNotFound):
        await one.revoke(new_id(), tokens.session_id, "logout", NO_ACTOR)
    with pytest.raises(SessionNotFound):
        await one.revoke(ANNA, tokens.session_id, "logout", Provenance(correlation_id="another request"))


async def test_a_session_that_is_not_refreshed_runs_out(replicas: tuple[Commands, Commands], clock: Clock) -> None:
    one, other = replicas
    tokens = await create(one)
    clock.forward(29 * DAY)
    tokens = await refresh(other, tokens.refresh_token)
    clock.forward(29 * DAY)
    assert await one.owner_of_active(tokens.session_id) == ANNA
    clock.forward(2 * DAY)
    assert await one.owner_of_active(tokens.session_id) is None
    with pytest.raises(InvalidRefreshToken):
        await refresh(other, tokens.refresh_token)


async def test_a_token_of_a_session_that_never_was_is_invalid(
    replicas: tuple[Commands, Commands], secrets: Secrets
) -> None:
    token = RefreshTokens(secrets.refresh_key).sign(RefreshToken(session_id=new_id(), generation=1))
    with pytest.raises(InvalidRefreshToken):
        await refresh(replicas[0], token)
