"""Changes, confirmations, undos, resets and registrations at once, against a model that runs them one after another."""

import asyncio
import copy
import itertools
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from nats.aio.client import Client as NATS

from contracts.errors import TokenExpired, VestnikError
from contracts.events.user import AddressState
from contracts.positions import Position
from infra.security.secrets import Secrets
from services.auth.email_change.decisions import HELD, MOST_CHANGES, is_present
from services.auth.registration.decisions import as_of
from services.auth.tokens.email_change_undo import EmailChangeUndo
from services.auth.tokens.email_verification import Verification
from services.auth.tokens.password_reset import Reset
from tests.integration.auth.accounts import NO_ACTOR, Account, register, request, undo
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import DAY, HOUR, PASSWORD, Auth


class Frozen:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Pending(msgspec.Struct):
    user: str
    expires: datetime
    # Of a change: the current address and the generation of the credential when it was requested.
    present: str | None = None
    generation: int = 0


class ModelAccount(msgspec.Struct):
    """An account of the model."""

    present: str
    # Addresses that it has left, oldest first, and until when each is still its own.
    left: list[tuple[str, datetime]] = []
    changes: list[datetime] = []
    generation: int = 1
    # None while it is void.
    password: str | None = PASSWORD


class Model(msgspec.Struct):
    now: datetime
    accounts: dict[str, ModelAccount] = {}
    pending: dict[str, list[Pending]] = {}

    def owner(self, address: str) -> str | None:
        return next(
            (
                user
                for user, known in self.accounts.items()
                if known.present == address or any(a == address and self.now < until for a, until in known.left)
            ),
            None,
        )

    def waiting(self, address: str) -> list[Pending]:
        return [pending for pending in self.pending.get(address, []) if self.now < pending.expires]

    def add(self, address: str, added: Pending) -> None:
        others = [pending for pending in self.waiting(address) if pending.user != added.user]
        self.pending[address] = [*others, added][-16:]

    def register(self, user: str, address: str) -> str:
        self.add(address, Pending(user, self.now + DAY))
        return "ok"

    def request(self, user: str, address: str, password: str | None) -> str:
        known = self.accounts[user]
        if known.password is None or known.password != password:
            return "invalid_credentials"
        if len([at for at in known.changes if self.now - at < HELD]) >= MOST_CHANGES:
            return "rate_limited"
        self.add(address, Pending(user, self.now + DAY, known.present, known.generation))
        return "ok"

    def confirm(self, user: str, address: str, expires: datetime) -> str:
        known = self.accounts.get(user)
        waiting = [pending for pending in self.waiting(address) if pending.user == user]
        if known is not None and waiting and known.present != address:
            (change,) = waiting
            if self.now >= expires or expires != change.expires or change.generation != known.generation:
                return "token_expired"
            if self.owner(address) not in (None, user) or change.present != known.present:
                return "token_expired"
            if self.owner(address) == user:
                self.restore(known, address)
                known.generation += 1
            else:
                known.left = [*known.left, (known.present, self.now + HELD)]
                known.present, known.changes = address, [*known.changes, self.now]
                self.pending[address] = []
            self.pending[address] = [pending for pending in self.pending[address] if pending.user != user]
            return "ok"
        if self.owner(address) == user:
            return "ok"
        if not waiting or self.now >= expires or self.owner(address) is not None or known is not None:
            return "token_expired"
        self.accounts[user] = ModelAccount(present=address)
        self.pending[address] = []
        return "ok"

    def undo(self, user: str, address: str, until: datetime) -> str:
        known = self.accounts[user]
        if self.now >= until or self.owner(address) != user:
            return "token_expired"
        if known.present == address:
            return "ok"
        if (address, until) not in known.left:
            return "token_expired"
        self.restore(known, address)
        self.pending[address] = [pending for pending in self.pending.get(address, []) if pending.user != user]
        known.generation, known.password = known.generation + 1, None
        return "ok"

    def restore(self, known: ModelAccount, address: str) -> None:
        known.left = [former for former in known.left if self.now < former[1]]
        known.changes = [*known.changes, self.now]
        index = [left for left, _ in known.left].index(address)
        known.present, known.left = address, known.left[:index]

    def end(self, user: str, address: str, expires: datetime) -> str:
        waiting, known = self.waiting(address), self.accounts.get(user)
        changes = known is not None and known.present != address
        if changes and any(pending.user == user and pending.expires != expires for pending in waiting):
            return "token_expired"
        if all(pending.user != user for pending in waiting):
            return "token_expired" if self.owner(address) == user else "ok"
        self.pending[address] = [pending for pending in waiting if pending.user != user]
        return "ok"

    def reset(self, user: str, password: str) -> str:
        known = self.accounts[user]
        known.generation, known.password = known.generation + 1, password
        return "ok"


# A step: what to do, and with which account or token and which address.
Step = tuple[str, int, int]
NAMES = ("a", "b", "c", "d")


class LaggingAccount(Account):
    """An account whose read model may be behind; asked for an end that it has not seen, it has caught up."""

    play: "RaceSteps"

    async def own_address(self, user_id: str, position: Position) -> str:
        if position == Position():
            return self.email
        return next(
            self.play.email(address)
            for address, state in (await self.play.states()).items()
            if is_present(state, user_id)
        )


class RaceSteps:
    """Runs steps on the replicas and on the model, one by one or two at once."""

    def __init__(self, replicas: tuple[Auth, Auth], clock: Frozen, prefix: str) -> None:
        self.replicas = replicas
        self.clock = clock
        self.prefix = prefix
        self.model = Model(now=clock.now)
        # Of registrations and changes: user, address, expiry. Of undos: user, address, until.
        self.mailed: list[tuple[str, str, datetime]] = []
        self.undos: list[tuple[str, str, datetime]] = []
        # The addresses that registered users registered with, by user id, and each user's username.
        self.first: dict[str, str] = {}
        self.numbers = itertools.count()

    def email(self, address: str) -> str:
        return f"{self.prefix}{address}@example.org"

    def key(self, address: str) -> str:
        return self.replicas[0].keys.of_email(self.email(address))

    async def register(self, address: str) -> None:
        name = f"{self.prefix}u{len(self.first)}"
        user = (await register(self.replicas[0], self.email(address), name)).user_id
        self.first[user] = address
        self.model.register(user, address)
        self.mailed.append((user, address, self.clock.now + DAY))

    def act(self, step: Step) -> tuple[Callable[[Model], str], Callable[[Auth], Awaitable[object]]] | None:
        """The step's calls on the model and on a replica; None if it is not possible in this state."""
        kind, which, number = step
        address = NAMES[number % len(NAMES)]
        users = sorted(self.model.accounts)
        tokens = self.undos if kind == "undo" else self.mailed
        if not (users if kind in ("request", "reset") else tokens):
            return None
        if kind == "request":
            user = users[which % len(users)]
            password = self.model.accounts[user].password
            who = LaggingAccount(user, self.email(self.model.accounts[user].present), self)
            return (lambda model: model.request(user, address, password)), (
                lambda auth: request(auth, who, self.email(address), password or PASSWORD)
            )
        if kind == "reset":
            user = users[which % len(users)]
            new = f"a good password {next(self.numbers)}"
            return (lambda model: model.reset(user, new)), (lambda auth: self.reset(auth, user, new))
        user, address, until = tokens[-1 - which % min(len(tokens), 6)]
        if kind == "undo":
            content = EmailChangeUndo(user_id=user, claim_key=self.key(address), until=until)
            return (lambda model: model.undo(user, address, until)), (lambda auth: undo(auth, auth.undos.sign(content)))
        token = self.replicas[0].tokens.sign(Verification(user_id=user, claim_key=self.key(address), expires_at=until))
        if kind == "end":
            return (lambda model: model.end(user, address, until)), (
                lambda auth: auth.commands.end_registration(token, NO_ACTOR)
            )
        known = self.model.accounts.get(user)
        password = (known.password if known is not None else None) or PASSWORD
        return (lambda model: model.confirm(user, address, until)), (
            lambda auth: auth.commands.verify_email(token, NO_ACTOR, password=password)
        )

    async def reset(self, auth: Auth, user: str, new: str) -> None:
        while True:
            generation = (await auth.aggregates.credentials.load(user)).state.generation
            token = auth.resets.sign(Reset(user_id=user, credential=generation, expires_at=self.clock.now + HOUR))
            try:
                await auth.changes(NoSessions()).reset(token=token, new=new, provenance=NO_ACTOR)
            except TokenExpired:
                continue
            return

    async def together(self, steps: list[Step]) -> None:
        """Runs the steps at once; some order of them must explain their answers and what became of the addresses."""
        # Of two resets at once, the state does not show which password is valid.
        resets = [step for step in steps if step[0] == "reset"]
        acts = [act for act in map(self.act, [step for step in steps if step not in resets[1:]]) if act is not None]
        answers = await asyncio.gather(*(answer(do(self.replicas[number % 2])) for number, (_, do) in enumerate(acts)))
        reached = await self.reached()
        seen = []
        for order in itertools.permutations(range(len(acts))):
            model = copy.deepcopy(self.model)
            expected = [""] * len(acts)
            for index in order:
                expected[index] = acts[index][0](model)
            if expected == answers and self.shown(model) == reached:
                self.adopt(model, steps)
                return
            seen.append((expected, self.shown(model)))
        raise AssertionError(f"{steps}: {answers} and {reached}, but in no order; possible are {seen}")

    def adopt(self, model: Model, steps: list[Step]) -> None:
        for user, known in model.accounts.items():
            before = self.model.accounts.get(user)
            for address, until in known.left:
                if before is None or (address, until) not in before.left:
                    self.undos.append((user, address, until))
        for address in NAMES:
            for pending in model.waiting(address):
                if (user_token := (pending.user, address, pending.expires)) not in self.mailed:
                    self.mailed.append(user_token)
        self.model = model

    def shown(self, model: Model) -> dict[str, object]:
        """The state by address (owner, whether it is the current one, what is pending) and by account (credential)."""
        addresses: dict[str, object] = {}
        for address in NAMES:
            owner = model.owner(address)
            present = owner is not None and model.accounts[owner].present == address
            waiting = [
                (
                    pending.user,
                    pending.expires,
                    pending.generation,
                    self.key(pending.present) if pending.present else None,
                )
                for pending in model.waiting(address)
            ]
            addresses[address] = (owner, present, waiting)
        return addresses | {user: (known.generation, known.password is None) for user, known in model.accounts.items()}

    async def states(self) -> dict[str, AddressState]:
        addresses = self.replicas[self.clock.now.hour % 2].aggregates.addresses
        return {address: as_of((await addresses.load(self.key(address))).state, self.clock.now) for address in NAMES}

    async def reached(self) -> dict[str, object]:
        auth = self.replicas[self.clock.now.hour % 2]
        shown: dict[str, object] = {}
        users = set(self.model.accounts)
        for address, state in (await self.states()).items():
            present = state.owner is not None and state.owner_until is None
            waiting = [
                (pending.user_id, pending.expires_at, pending.credential, pending.replaces) for pending in state.pending
            ]
            shown[address] = (state.owner, present, waiting)
            users |= {state.owner} if state.owner else set()
        for user in users:
            credential = (await auth.aggregates.credentials.load(user)).state
            shown[user] = (credential.generation, credential.hashed is None)
        return shown


async def answer(doing: Awaitable[object]) -> str:
    try:
        await doing
    except VestnikError as error:
        return error.code
    return "ok"


KINDS = ("request", "request", "confirm", "confirm", "confirm", "undo", "end", "reset", "register", "wait")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_at_once_some_order_of_it_explains_who_has_which_address(
    streams: NATS, secrets: Secrets, seed: int
) -> None:
    chance, clock = random.Random(seed), Frozen()
    replicas = Auth(streams, secrets, clock), Auth(streams, secrets, clock)
    for round_ in range(8):
        play = RaceSteps(replicas, clock, f"s{seed}r{round_}")
        steps = []
        for _ in range(25):
            kind = chance.choice(KINDS)
            if kind == "wait":
                steps.append((kind, chance.choice([1, 12, 24, 72, 167]), 0))
                clock.now += timedelta(hours=steps[-1][1])
                play.model.now = clock.now
            elif kind == "register":
                address = chance.randrange(len(NAMES))
                steps.append((kind, 0, address))
                await play.register(NAMES[address])
            else:
                batch = [
                    (chance.choice([kind, *KINDS[:-2]]), chance.randrange(6), chance.randrange(4))
                    for _ in range(chance.choice([1, 2, 2, 3]))
                ]
                steps += batch
                try:
                    await play.together(batch)
                except AssertionError as error:
                    raise AssertionError(f"round {round_}, after {steps}") from error
    for auth in replicas:
        auth.passwords.close()
