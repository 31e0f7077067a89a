"""Two processes call three replicas of a service over multiplexed streams, while replicas and network have faults."""

import asyncio
import random
from collections import Counter
from functools import cache, partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import msgspec

from contracts.errors import DeadlineExceeded, Overloaded, Unavailable, UserNotFound, VestnikError
from contracts.rpc.vestnik.auth.v1 import (
    AuthServiceBase,
    AuthServiceStub,
    GetUserRequest,
    GetUserResponse,
    User,
)
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.rpc.replicas import Replicas
from infra.rpc.server import RpcServer
from infra.security.secrets import Secrets
from infra.settings import Settings
from tests.simulation.network import Network
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Weighted, World

_HOSTS, _PORT = ("auth-0", "auth-1", "auth-2"), 8081
# Seconds that a call may exceed its timeout by: the interval of checks of deadlines, and stalls of the processor.
_GRACE = 0.2
# How often a turn of the loop stalls, and for how many seconds at most: so deadlines pass before a caller's turn.
_STALLS, _LONGEST_STALL = 0.05, 0.05
# Seconds after which the effects of every fault are over.
_HEALED = 25.0
# Seconds within which a repeatable call is answered by another replica if one of them is silent.
_FAILS_OVER = 3.0


@cache
def _secrets() -> tuple[Secrets, "TemporaryDirectory[str]"]:
    folder = TemporaryDirectory()
    return Secrets.create(Path(folder.name) / "secrets"), folder


class Attempted(msgspec.Struct):
    """A call and how it ended."""

    user_id: str
    repeatable: bool
    timeout: float
    began: float
    took: float = 0.0
    answer: str | None = None
    error: BaseException | None = None


class Auth(AuthServiceBase):
    """A replica: answers with the user that the call names, after some time, or with an error that names it."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, executed: Counter[str]) -> None:
        self._loop = loop
        self._rng = rng
        self._executed = executed
        self.served = 0

    async def get_user(self, message: GetUserRequest) -> GetUserResponse:
        self.served += 1
        self._executed[message.user_id] += 1
        await asyncio.sleep(self._rng.random() * self._rng.choice((0.0, 0.01, 0.01, 0.01, 1.0, 4.0)))
        if self._rng.random() < 0.05:
            raise UserNotFound(message.user_id)
        return GetUserResponse(user=User(user_id=message.user_id))


class Replica:
    def __init__(self, loop: VirtualLoop, rng: random.Random, network: Network, host: str, calls: Counter[str]) -> None:
        self.host = host
        self._network = network
        self._make = partial(Auth, loop, rng, calls)
        self.running = False

    async def start(self) -> None:
        self.auth = self._make()
        self._server = RpcServer("auth", [self.auth], secrets=_secrets()[0])
        await self._server.start(self.host, _PORT)
        self._server.set_ready(True)
        self.running = True

    def crash(self) -> None:
        """Stops immediately: connections are cut, and running calls end."""
        self.running = False
        self._network.close(self.host, _PORT)
        self._network.cut(self.host)

    async def stop(self) -> None:
        """Stops after the calls in flight, as at the end of a process."""
        self.running = False
        self._network.close(self.host, _PORT)
        await self._server.drain(2.0)
        self._network.cut(self.host)


class Calls(World):
    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        super().__init__(loop, rng)
        stalls = random.Random(rng.random())
        loop.stall = lambda: stalls.random() * _LONGEST_STALL if stalls.random() < _STALLS else 0.0
        self._network = Network(loop, rng)
        self._executed: Counter[str] = Counter()
        self._replicas = [Replica(loop, rng, self._network, host, self._executed) for host in _HOSTS]
        self._clients: list[Client] = []
        self._numbers = count(1)
        self.attempts: list[Attempted] = []
        self._running: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for replica in self._replicas:
            await replica.start()
        for _ in range(2):
            replicas = Replicas([(host, _PORT) for host in _HOSTS])
            self._clients.append(
                Client(
                    "auth", me="gateway", settings=Settings(), secrets=_secrets()[0], carried=True, replicas=replicas
                )
            )

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def call(self) -> None:
        for _ in range(self._rng.randint(1, 4)):
            self._begin(self._rng.choice((0.3, 2.0, 5.0)), repeatable=self._rng.random() < 0.5)

    def burst(self) -> None:
        """Many concurrent calls, which share messages."""
        for _ in range(self._rng.randint(10, 40)):
            self._begin(5.0, repeatable=self._rng.random() < 0.5)

    def cancel(self) -> None:
        """Cancels some of the calls."""
        for task in self._rng.sample(self._running, min(3, len(self._running))):
            task.cancel()

    def cut(self) -> None:
        self._network.cut(self._rng.choice(_HOSTS))

    def silence(self) -> None:
        self._network.silence(self._rng.choice(_HOSTS), self._outage())

    def crash(self) -> None:
        replica = self._rng.choice(self._replicas)
        if replica.running:
            replica.crash()
            self._others.append(self._loop.create_task(self._start_again(replica)))

    def stop(self) -> None:
        """A replica stops as in a rolling restart."""
        replica = self._rng.choice(self._replicas)
        if replica.running:
            replica.running = False
            self._others.append(self._loop.create_task(self._restart(replica)))

    async def _restart(self, replica: Replica) -> None:
        await replica.stop()
        await self._start_again(replica)

    async def _start_again(self, replica: Replica) -> None:
        await asyncio.sleep(self._outage())
        await replica.start()

    def _begin(self, timeout: float, *, repeatable: bool) -> asyncio.Task[None]:
        attempted = Attempted(f"user-{next(self._numbers)}", repeatable, timeout, self._loop.now)
        self.attempts.append(attempted)
        task = self._loop.create_task(self._call(self._rng.choice(self._clients), attempted))
        self._running.append(task)
        task.add_done_callback(self._running.remove)
        return task

    async def _call(self, client: Client, attempted: Attempted) -> None:
        user_id = attempted.user_id
        try:
            answer = await client.call(
                client.stub(AuthServiceStub).get_user,
                GetUserRequest(user_id=user_id),
                timeout=attempted.timeout,
                idempotent=attempted.repeatable,
                context=Call(request_id=user_id, actor=user_id),
            )
            assert answer.user is not None
            attempted.answer = answer.user.user_id
        except (VestnikError, asyncio.CancelledError) as error:
            attempted.error = error
        finally:
            attempted.took = self._loop.now - attempted.began

    async def check(self) -> None:
        """Every call has ended as it may, and afterwards all replicas are in use; a silent one is left."""
        await asyncio.sleep(_HEALED)
        assert not self._running, "a call does not end"
        for task in self._others:
            task.result()
        for attempted in self.attempts:
            self._check(attempted)
        # The first calls find which replicas are back.
        await self._all_answered(_FAILS_OVER)
        for replica in self._replicas:
            replica.auth.served = 0
        await self._all_answered(_FAILS_OVER)
        assert all(replica.auth.served for replica in self._replicas), "a replica is not used after all faults"
        self._network.silence(_HOSTS[0], 60.0)
        await self._all_answered(_FAILS_OVER)
        await self._all_answered(_FAILS_OVER)

    async def _all_answered(self, within: float) -> None:
        """Makes repeatable calls, which are all answered in time; the handlers' own pauses count in addition."""
        before = len(self.attempts)
        await asyncio.gather(*[self._begin(10.0, repeatable=True) for _ in range(30)])
        for attempted in self.attempts[before:]:
            self._check(attempted)
            assert isinstance(attempted.error, UserNotFound | None), f"{attempted.error!r} after all faults"
            assert attempted.took <= within + 4.0, f"answered after {attempted.took} s"

    def _check(self, attempted: Attempted) -> None:
        error, executed = attempted.error, self._executed[attempted.user_id]
        assert attempted.took <= attempted.timeout + _GRACE, f"a call took {attempted.took} s of {attempted.timeout}"
        assert attempted.answer in (None, attempted.user_id), f"{attempted.answer} instead of {attempted.user_id}"
        assert attempted.answer is None or executed, "answered, and not executed"
        assert attempted.repeatable or executed <= 1, f"executed {executed} times"
        if isinstance(error, UserNotFound):
            assert attempted.user_id in str(error), f"the error of another call: {error}"
        elif isinstance(error, Unavailable | Overloaded):
            assert attempted.repeatable or not executed, f"{error!r}, and it was executed"
        else:
            assert isinstance(error, DeadlineExceeded | asyncio.CancelledError | None), repr(error)

    ACTIONS: ClassVar[tuple[Weighted, ...]] = (
        (8, call),
        (3, burst),
        (3, cancel),
        (1.5, cut),
        (1, silence),
        (1, crash),
        (1, stop),
    )
