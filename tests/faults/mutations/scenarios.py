"""What happens to `vestnik up` while its clients are at work: the shortest course that shows some kinds of faults."""

import asyncio
import signal

from contracts.deadlines import REQUEST
from tests.faults.checker.finding import Bounds
from tests.faults.clients.traffic import Plan, Traffic
from tests.faults.history import now
from tests.faults.mutations.single_machine import Scenario
from tests.fix_system import System

_SOME = 10
_NO_OTHERS = {"friendships": 0, "visits": 0, "races": False}
# One conversation, as fast as it goes.
_WRITERS = Plan(interval=0.0, **_NO_OTHERS)  # type: ignore[arg-type]
_READY_AGAIN = 120.0


async def _nothing(_: System, traffic: Traffic) -> None:
    await traffic.grows_by(3 * _SOME)
    await traffic.goes_round()


async def _go_on(_: System, traffic: Traffic) -> None:
    await traffic.grows_by(15 * _SOME)


async def _kill_gateways(system: System, traffic: Traffic) -> None:
    for _ in range(3):
        await traffic.grows_by(_SOME)
        _kill(system, "gateway")
    await traffic.grows_by(_SOME)


async def _kill_one_gateway(system: System, traffic: Traffic) -> None:
    """Live connections go on at the other gateway, which has the last events that they had."""
    for number in range(6):
        await traffic.grows_by(_SOME)
        gateways = system.serving("gateway")
        gateways[number % len(gateways)].send(signal.SIGKILL)
    await traffic.grows_by(_SOME)


async def _kill_messaging(system: System, traffic: Traffic) -> None:
    for _ in range(4):
        await traffic.grows_by(_SOME)
        _kill(system, "messaging")
    await traffic.grows_by(_SOME)


async def _kill_store(system: System, traffic: Traffic) -> None:
    for _ in range(2):
        await traffic.grows_by(_SOME)
        _kill(system, "nats")
    await traffic.grows_by(_SOME)


async def _kill_contact(system: System, traffic: Traffic) -> None:
    """The service is away for longer than a request waits for it: killed as often as it is started again."""
    await traffic.goes_round()
    ends = now() + REQUEST + _NOTICED
    while now() < ends:
        _kill(system, "contact")
        await asyncio.sleep(_ARRIVED)
    ends = now() + _BACK_WITHIN
    while now() < ends and not system.serving("contact"):
        await asyncio.sleep(_ARRIVED)
    if system.serving("contact"):
        await traffic.goes_round()


async def _lose_answers(system: System, traffic: Traffic) -> None:
    """Has messages stored whose acknowledgements never arrive, then kills the processes that sent them."""
    for _ in range(2):
        await traffic.grows_by(_SOME)
        _signal(system, "nats", signal.SIGSTOP)
        await asyncio.sleep(_ARRIVED)
        _signal(system, "gateway", signal.SIGSTOP)
        _signal(system, "nats", signal.SIGCONT)
        # Now what waits at the store is stored.
        await asyncio.sleep(_ARRIVED)
        _kill(system, "messaging")
        _kill(system, "gateway")
    await traffic.grows_by(_SOME)


async def _hang_store(system: System, traffic: Traffic) -> None:
    """Messages are under way to a store that has stopped, when it and the process that sends them are killed."""
    for _ in range(2):
        await traffic.grows_by(_SOME)
        _signal(system, "nats", signal.SIGSTOP)
        await asyncio.sleep(_ARRIVED)
        _kill(system, "messaging")
        _kill(system, "nats")
    await traffic.grows_by(_SOME)


async def _refuse_mails(system: System, traffic: Traffic) -> None:
    """For some seconds after a registration no mail can be written."""
    folder = system.data_dir / "mail"
    away = folder.with_name("mail.away")
    await traffic.goes_round()
    folder.rename(away)
    folder.touch()
    await traffic.registers()
    await asyncio.sleep(_NOTICED)
    folder.unlink()
    away.rename(folder)
    await traffic.goes_round()


# Seconds in which what is on its way arrives, in which clients notice that a part is away, and in which a process that
# ended is started again.
_ARRIVED, _NOTICED, _BACK_WITHIN = 0.7, 3.0, 15.0

QUIET = Scenario(plan=Plan(interval=0.0), disturb=_nothing, verified=True)
QUIET_CONVERSATION = Scenario(plan=_WRITERS, disturb=_nothing, part_of=QUIET)
MANY_MESSAGES = Scenario(plan=_WRITERS, disturb=_go_on)
QUIET_FRIENDSHIP = Scenario(plan=Plan(conversations=0, visits=0, races=False), disturb=_nothing, part_of=QUIET)
QUIET_SESSIONS = Scenario(plan=Plan(conversations=0, friendships=0, races=False), disturb=_nothing, part_of=QUIET)
QUIET_REGISTRATIONS = Scenario(plan=Plan(conversations=0, friendships=0, visits=0), disturb=_nothing, part_of=QUIET)
GATEWAYS_KILLED = Scenario(plan=_WRITERS, disturb=_kill_gateways)
GATEWAY_KILLED = Scenario(plan=_WRITERS, disturb=_kill_one_gateway, replicas=2)
MESSAGING_KILLED = Scenario(plan=_WRITERS, disturb=_kill_messaging, verified=True)
STORE_KILLED = Scenario(plan=_WRITERS, disturb=_kill_store, verified=True)
# The store is idle most of the time.
STORE_HANGS = Scenario(plan=Plan(interval=0.3, **_NO_OTHERS), disturb=_hang_store)  # type: ignore[arg-type]
ANSWERS_LOST = Scenario(plan=_WRITERS, disturb=_lose_answers)
CONTACT_KILLED = Scenario(
    plan=Plan(conversations=0, visits=0, races=False, answered_within=45.0), disturb=_kill_contact
)
MAILS_REFUSED = Scenario(
    plan=Plan(conversations=0, friendships=0, visits=0), disturb=_refuse_mails, bounds=Bounds(mails_may_repeat=True)
)


def _kill(system: System, service: str) -> None:
    _signal(system, service, signal.SIGKILL)


def _signal(system: System, service: str, number: signal.Signals) -> None:
    for process in system.serving(service):
        process.send(number)
