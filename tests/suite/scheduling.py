"""Hands out tests to pytest-xdist's workers, a module at a time, and survives the crash of a worker.

A module's tests share its fixtures, so one worker runs them all. Whole folders share a running system: all their tests
with the same number of replicas are one unit, as are all tests that stop or damage a system, and only one worker starts
that system.

The units of browsers and of shared systems keep the processors busy for minutes, while other modules often wait for
servers. So at most `MOST_BUSY` of these units run at once as long as there is other work.

In pytest-xdist 3.8 a crash near the end of a run makes it hang: the replacement gets one unit of work, and a worker
starts a test only once it knows the next one or that there is none. A test that crashes its worker is also run again
by the replacement, and crashes that one too.
"""

import re
from collections.abc import Collection, Iterable

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it ships no types

_BROWSER = "tests/browser/"
BUSY = (_BROWSER, "one-replica", "two-replicas", "own-system")
# One for each of two processors.
MOST_BUSY = 2
_SYSTEM = re.compile(r"\[.*\b(one-replica|two-replicas|own-system)\b.*\]$", re.DOTALL)


def unit_of(test: str) -> str:
    """The name of the unit that a test belongs to, from its node id."""
    if test.startswith(_BROWSER):
        return _BROWSER
    system = _SYSTEM.search(test)
    return system[1] if system else test.partition("::")[0]


def next_unit(queue: Iterable[str], running: Collection[str]) -> str:
    """The unit that the next free worker begins: the first busy one, unless enough of them run already."""
    units = list(queue)
    busy_next = sum(unit in BUSY for unit in running) < MOST_BUSY
    return next((unit for unit in units if (unit in BUSY) is busy_next), units[0])


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # a base without types
    """LoadScopeScheduling with larger units, and with a crash that ends one test only."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: object) -> None:
        running = [
            name for units in self.assigned_work.values() for name, tests in units.items() if not all(tests.values())
        ]
        self.workqueue.move_to_end(next_unit(self.workqueue, running), last=False)
        super()._assign_work_unit(node)

    def remove_node(self, node: object) -> str | None:
        """Returns the test that the worker ran when it crashed, if any; its other tests go back to the queue."""
        units = self.assigned_work.pop(node)
        crashed: str | None = next((test for unit in units.values() for test, done in unit.items() if not done), None)
        if crashed is None:
            return None
        for scope, unit in units.items():
            if crashed in unit:
                unit[crashed] = True
            if not all(unit.values()):
                self.workqueue[scope] = unit
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed

    def schedule(self) -> None:
        """Begins the run, or gives a replacement its work: two units, or one and the notice that it is the last."""
        replacement = self.collection is not None
        super().schedule()
        if replacement:
            super().schedule()
