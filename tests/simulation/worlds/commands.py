"""Two processes decide on the same friendships from their caches, while the event store has faults."""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import count
from typing import ClassVar

import msgspec

from contracts.envelope import Provenance, now
from contracts.errors import DeadlineExceeded, Overloaded, Unavailable, VestnikError
from contracts.events.event import Event
from services.contact.domain import Friendship, decide_add, decide_block, decide_remove, decide_unblock, evolve
from streams.log import Log
from streams.message import Message
from streams.repository import CommandResult, Repository
from tests.simulation.nats.clients import connect
from tests.simulation.nats.server import NatsServer
from tests.simulation.network import Network
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Weighted, World

STREAM = "CONTACT"
_PAIRS = tuple(f"pair-{number}" for number in range(3))
_ANNA, _BEN = "anna", "ben"
# Patience of a command, and seconds after which the effects of every fault are over.
_PATIENCE, _HEALED = 10.0, 30.0

Decide = Callable[[Friendship, datetime], Sequence[Event]]


class Command(msgspec.Struct, kw_only=True):
    """A command and how it ended."""

    pair: str
    request_id: str
    decide: Decide
    # How many events the friendship had when it began, and when it ended.
    began: int
    ended: int = 0
    # When it was decided last.
    decided_at: datetime | None = None
    result: CommandResult[Friendship] | None = None
    error: BaseException | None = None


class Commands(World):
    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        super().__init__(loop, rng)
        self._network = Network(loop, rng)
        self._server = NatsServer(self._network, {STREAM: "vestnik.contact."}, replicated=rng.random() < 0.5)
        self._repositories: list[Repository[Friendship]] = []
        self._numbers = count(1)
        self._commands: list[Command] = []
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for number in range(2):
            log = Log(await connect(f"contact-{number}"), patience=_PATIENCE)
            self._repositories.append(
                Repository(log, subject=_subject, initial=Friendship(), evolve=evolve, capacity=2)
            )

    def command(self) -> None:
        pair, user = self._rng.choice(_PAIRS), self._rng.choice((_ANNA, _BEN))
        other = _BEN if user == _ANNA else _ANNA
        decisions: list[Decide] = [
            lambda state, at: decide_add(state, user, other, at),
            lambda state, at: decide_add(state, user, other, at),
            lambda state, _: decide_remove(state, user, other),
            lambda state, at: decide_block(state, user, other, at),
            lambda state, at: decide_unblock(state, user, other, at),
        ]
        request_id = f"request-{next(self._numbers)}"
        command = Command(
            pair=pair, request_id=request_id, decide=self._rng.choice(decisions), began=len(self._events(pair))
        )
        self._commands.append(command)
        task = self._loop.create_task(self._run(self._rng.choice(self._repositories), command))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def rush(self) -> None:
        """Many concurrent commands."""
        for _ in range(self._rng.randint(5, 30)):
            self.command()

    def cancel(self) -> None:
        """Cancels a caller that waits."""
        if self._running:
            self._rng.choice(sorted(self._running, key=lambda task: int(task.get_name().rpartition("-")[2]))).cancel()

    def cut(self) -> None:
        self._network.cut("nats")

    def silence(self) -> None:
        self._network.silence("nats", self._outage())

    def step_down(self) -> None:
        self._server.step_down(self._outage())

    def delay(self) -> None:
        self._server.delay(self._outage())

    def crash(self) -> None:
        """The server stops, and comes back."""
        if self._server.running:
            self._server.crash()
            self._loop.call_later(self._outage(), self._server.start)

    async def check(self) -> None:
        """Each answer is true for the state at some moment of the call, and no command takes effect twice."""
        await asyncio.sleep(_HEALED)
        async with asyncio.timeout(60):
            while self._running:
                await asyncio.sleep(0.5)
        for pair in _PAIRS:
            versions = [message.envelope().version for message in self._events(pair)]
            assert versions == list(range(1, len(versions) + 1)), f"versions of {pair}: {versions}"
        for command in self._commands:
            self._check(command)

    def _check(self, command: Command) -> None:
        messages = self._events(command.pair)
        own_messages = [message for message in messages if message.envelope().request_id == command.request_id]
        result = command.result
        assert isinstance(command.error, VestnikError | asyncio.CancelledError | None), repr(command.error)
        if result is not None and result.events:
            assert [message.envelope().id for message in own_messages] == [event.id for event in result.events]
            assert result.version == own_messages[-1].envelope().version
            assert result.state == self._state(messages[: result.version]), f"another state after {command.request_id}"
            return
        if result is not None or _refuses(command.error):
            assert not own_messages, f"{command.request_id} was answered without events, and stored {len(own_messages)}"
            states = [self._state(messages[:length]) for length in range(command.began, command.ended + 1)]
            assert any(self._answers_so(command, state) for state in states), (
                f"{command.request_id}: {result or command.error!r} was true at no moment of the call"
            )
            return
        # One decision may append several events, all or none of them.
        assert len({message.envelope().version for message in own_messages}) == len(own_messages)
        if isinstance(command.error, Unavailable):
            assert not own_messages, f"{command.request_id} was answered as not done, and is stored"

    def _answers_so(self, command: Command, state: Friendship) -> bool:
        assert command.decided_at is not None
        try:
            events = command.decide(state, command.decided_at)
        except VestnikError as error:
            return type(error) is type(command.error)
        return not events and command.result is not None

    async def _run(self, repository: Repository[Friendship], command: Command) -> None:
        def decide(state: Friendship) -> Sequence[Event]:
            command.decided_at = now()
            return command.decide(state, command.decided_at)

        try:
            provenance = Provenance(request_id=command.request_id)
            command.result = await repository.execute(command.pair, decide, provenance)
        except BaseException as error:
            command.error = error
        finally:
            command.ended = len(self._events(command.pair))

    def _events(self, pair: str) -> list[Message]:
        subject = _subject(pair)
        return [
            Message(STREAM, stored.sequence, stored.subject, stored.data)
            for stored in self._server.streams[STREAM].messages
            if stored.subject == subject
        ]

    def _state(self, messages: Sequence[Message]) -> Friendship:
        state = Friendship()
        for message in messages:
            event = message.open()
            state = evolve(state, event.data, event.at)
        return state

    ACTIONS: ClassVar[tuple[Weighted, ...]] = (
        (6, command),
        (4, rush),
        (2, cancel),
        (0.7, cut),
        (0.4, silence),
        (0.5, step_down),
        (0.5, delay),
        (0.5, crash),
    )


def _subject(pair: str) -> str:
    return f"vestnik.contact.friendship.{pair}"


def _refuses(error: BaseException | None) -> bool:
    """Whether it is the domain's refusal, and not the event store's."""
    return isinstance(error, VestnikError) and not isinstance(error, Unavailable | Overloaded | DeadlineExceeded)
