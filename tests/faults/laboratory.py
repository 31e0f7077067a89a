"""The laboratory: a cluster under steady traffic and faults, and what it answered, delivered and kept."""

import asyncio
import sys
import time
import traceback
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from contracts.subjects import STREAMS
from tests.faults import final_state, result
from tests.faults.checker.finding import Bounds
from tests.faults.clients import gateways
from tests.faults.clients.gateways import Gateways
from tests.faults.clients.mails import Mails
from tests.faults.clients.traffic import Plan, Traffic
from tests.faults.nemesis.clocks import add_clock
from tests.faults.nemesis.disks import mount_disk
from tests.faults.nemesis.fault import GATEWAY, NATS, POSTGRES, Fault, Hosts
from tests.faults.nemesis.nemesis import Nemesis
from tests.faults.nemesis.target import Target
from tests.faults.processes import Processes, sampling
from tests.faults.recording import Recorder
from tests.faults.report import alone, pairs
from tests.faults.result import Conditions
from tests.faults.runs.summary import by_fault
from tests.faults.schedule import Step
from tests.rehearsal.deployment import MAIL_PORT, Deployment
from tests.rehearsal.mail_sink import MailSink

# Messages that each person has acknowledged after the last fault.
_SOME = 20
# For all conversations, and for each: what its passwords cost.
_OPEN_WITHIN, _OPEN_EACH = 300.0, 10.0
_GROWS_WITHIN = 300.0
_ATTEMPTS = 3
# Of many findings; the result has all.
_SHOWN = 50


class Laboratory:
    def __init__(
        self,
        deployment: Deployment,
        faults: Sequence[type[Fault]],
        conditions: Conditions,
        plan: Plan,
        bounds: Bounds | None = None,
    ) -> None:
        """`faults`: those of the steps; `plan`: of the traffic; `bounds`: of the checks."""
        self.deployment = deployment
        self.target = Target(deployment)
        self._faults = faults
        self._conditions = conditions
        self._plan = plan
        self._bounds = bounds
        self._begun = time.monotonic()

    @property
    def hosts(self) -> Hosts:
        """The hosts that faults may act on, by kind."""
        cluster = self.deployment.cluster
        return {kind: cluster.names(kind) for kind in (NATS, POSTGRES, *cluster.replicated())}

    async def run(self, steps: Iterable[Step], seconds: float, within: float | None = None) -> int:
        """Runs the cluster with faults for some seconds, and checks it; returns the exit code.

        `within`: the longest that all of it may take, without the end of the hosts.
        """
        cluster = self.deployment.cluster
        failure = ""
        try:
            with Recorder(self.deployment.folder) as recorder:
                async with asyncio.timeout(within):
                    await self._run(steps, seconds, recorder)
        except Exception as error:
            self._say("FAILED")
            cluster.show_logs()
            traceback.print_exception(error, file=sys.stdout)
            sys.stdout.flush()
            failure = repr(error)
        finally:
            # First, since it also ends what connections wait for.
            await cluster.close()
            await self.target.close()
        return self._judge(failure)

    async def _run(self, steps: Iterable[Step], seconds: float, recorder: Recorder) -> None:
        site, mails = self.deployment.site, Mails(recorder)
        self._prepare()
        async with MailSink(mails.add).listening(MAIL_PORT):
            await self._start()
            processes = Processes(self.deployment.cluster, recorder)
            await processes.look()
            front = Gateways([gateways.Target(site.url, site.tls)], recorder)
            traffic = Traffic(front, mails, self._plan)
            try:
                async with asyncio.timeout(_OPEN_WITHIN + self._plan.conversations * _OPEN_EACH):
                    await traffic.open()
                self._say("the clients have their accounts")
                nemesis = Nemesis(self.target, processes.look, recorder.add, self._say)
                async with sampling(self.deployment.cluster, recorder), traffic.flowing():
                    await nemesis.run(self._noted(steps), seconds)
                    await traffic.grows_by(_SOME, _GROWS_WITHIN)
                self._say(f"the clients have ended; {traffic.acknowledged} messages were acknowledged")
                await traffic.read_whole()
                await processes.look()
            finally:
                await front.close()
            await self._record_state(recorder)

    def _prepare(self) -> None:
        """Makes the secrets, and what faults need before the start."""
        cluster = self.deployment.cluster
        self.deployment.make_secrets()
        self.target.prepare()
        for name in cluster.names(GATEWAY):
            # All requests come from a few people at one address.
            cluster.add(name, {"VESTNIK_RATE_LIMITS": "off"})
        if any(fault.needs_clocks for fault in self._faults):
            for name in cluster.ours():
                add_clock(self.target, name)

    async def _start(self) -> None:
        cluster = self.deployment.cluster
        await cluster.open()
        if any(fault.needs_disks for fault in self._faults):
            for name in (*cluster.names(NATS), *cluster.names(POSTGRES)):
                mount_disk(self.target.disk(name))
        await cluster.start()
        await self.target.connect()
        for fault in self._faults:
            await fault.prepare(self.target)
        await cluster.wait_ready(cluster.ours())
        self._say("the cluster is ready")

    async def _record_state(self, recorder: Recorder) -> None:
        """Records the read models, and every event of the streams."""
        for attempt in range(_ATTEMPTS):
            # The exit code is 1 also where read models differ, which the checker reports.
            verified = await self._tool("verify", "--json", good=(0, 1))
            # A busy machine may not have let it read them all.
            if not (failed := msgspec.json.decode(verified)["failed"]):
                break
            self._say(f"attempt {attempt + 1} of `vestnik verify` could not read all read models: {failed}")
        for model in final_state.read_models(verified):
            recorder.add(model)
        for name in STREAMS:
            path = self.deployment.folder / f"{name}.events.jsonl"
            await self._tool("events", "--stream", name, "--json", output=path)
            with path.open() as lines:
                for part in final_state.stream(name, lines):
                    recorder.add(part)
            path.unlink()
        self._say("the final state is recorded")

    async def _tool(self, *arguments: str, good: Collection[int] = (0,), output: Path | None = None) -> str:
        """Runs a command of the operators' command line; returns its output. Retries if it cannot connect.

        `output`: a file for it, if it may be too long for the memory.

        Raises:
            AssertionError: it prints nothing, or its exit code is another than the good ones, each time.
        """
        code = 0
        for _ in range(_ATTEMPTS):
            code, printed = await self.deployment.cluster.tool(*arguments, output=output)
            if code in good and (printed or (output is not None and output.stat().st_size)):
                return printed
        raise AssertionError(f"vestnik {' '.join(arguments)} ended with {code}")

    def _judge(self, failure: str) -> int:
        """Checks the history, writes the result, and prints what is wrong; returns the exit code."""
        run = result.judged(self.deployment.folder, self._conditions, self._bounds, failure)
        if run.findings and not failure:
            self.deployment.cluster.show_logs()
        self._say(f"{run.acknowledged} messages acknowledged, {len(run.findings)} findings")
        for finding in run.findings[:_SHOWN]:
            self._say(f"  {finding}")
        faults = by_fault(run.steps)
        sys.stdout.write("".join(f"{line}\n" for line in (*alone(faults, self._faults), "", *pairs(faults))))
        self._say(f"checked in {run.checked_in:.0f} s; the result is {result.write(run, self.deployment.folder)}")
        return 1 if run.findings or failure else 0

    def _noted(self, steps: Iterable[Step]) -> Iterator[Step]:
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
