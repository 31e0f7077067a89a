"""The laboratory: a cluster under steady traffic and faults, and what it answered, delivered and kept."""

import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tests.faults.history import Recorder
from tests.faults.nemesis.clocks import add_clock
from tests.faults.nemesis.disks import mount_small_disk
from tests.faults.nemesis.fault import NATS, POSTGRES, Fault, Hosts
from tests.faults.nemesis.nemesis import Nemesis
from tests.faults.nemesis.target import Target
from tests.faults.schedule import Step
from tests.rehearsal.deployment import MAIL_PORT, Deployment
from tests.rehearsal.mail_sink import MailSink
from tests.rehearsal.people import Failures, Person
from tests.rehearsal.traffic import Traffic

# Messages that each person has acknowledged after the last fault.
_SOME = 20


class Laboratory:
    def __init__(self, deployment: Deployment, faults: Sequence[type[Fault]], last_release: Path | None = None) -> None:
        """`last_release`: the tree of the last release, which some faults need."""
        self.deployment = deployment
        self.target = Target(deployment, last_release)
        self._faults = faults
        self._begun = time.monotonic()

    @property
    def hosts(self) -> Hosts:
        """What faults may act on, by kind."""
        cluster = self.deployment.cluster
        return {kind: cluster.names(kind) for kind in ("nats", "postgres", *cluster.replicated())}

    async def run(self, steps: Iterable[Step], seconds: float) -> int:
        """Runs the cluster with faults for some seconds, and checks it; returns the exit code."""
        try:
            with Recorder(self.deployment.folder) as recorder:
                await self._run(steps, seconds, recorder)
        except (AssertionError, ExceptionGroup, TimeoutError, OSError) as error:
            self._say("FAILED")
            traceback.print_exception(error)
            return 1
        finally:
            await self.target.close()
            await self.deployment.cluster.close()
        return 0

    async def _run(self, steps: Iterable[Step], seconds: float, recorder: Recorder) -> None:
        self.deployment.make_secrets()
        self.target.prepare()
        cluster = self.deployment.cluster
        if any(fault.needs_clocks for fault in self._faults):
            for name in cluster.ours():
                add_clock(self.target, name)
        mail, failures = MailSink(), Failures()
        async with mail.listening(MAIL_PORT):
            await cluster.open()
            if any(fault.needs_small_disks for fault in self._faults):
                for name in (*self.hosts[NATS], *self.hosts[POSTGRES]):
                    mount_small_disk(self.target.disk(name))
            await cluster.start()
            await self.target.connect()
            for fault in self._faults:
                await fault.prepare(self.target)
            self._say("the cluster is ready")
            people = [Person(self.deployment.site, name, mail, failures) for name in ("anna", "boris")]
            try:
                for person in people:
                    await person.register()
                await people[0].befriend(people[1])
                traffic = Traffic(people)
                async with traffic.flowing():
                    taken = await Nemesis(self.target, recorder.add, self._say).run(self._noted(steps), seconds)
                    await traffic.grows_by(_SOME)
                self._say(f"{await traffic.check()} messages whole and in order after {taken} steps")
            finally:
                for person in people:
                    await person.close()
            await self.deployment.verify()
            self._say("read models are equal to their streams")

    def _noted(self, steps: Iterable[Step]) -> Iterable[Step]:
        """Writes each step into the run's folder before it is taken."""
        with (self.deployment.folder / "schedule.jsonl").open("ab", buffering=0) as file:
            for step in steps:
                file.write(msgspec.json.encode(step) + b"\n")
                yield step

    def _say(self, text: str) -> None:
        line = f"{time.monotonic() - self._begun:7.1f}  {text}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        with (self.deployment.folder / "laboratory.log").open("a") as log:
            log.write(f"{line}\n")
