"""The rehearsal's course: a deployment from its secrets to its clean stop, with everything that may end in between."""

import asyncio
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.rehearsal.cluster import PUBLIC, compiled
from tests.rehearsal.deployment import MAIL_PORT, Deployment
from tests.rehearsal.mail_sink import MailSink
from tests.rehearsal.people import Failures, Person
from tests.rehearsal.traffic import Traffic
from tests.upgrade.releases import next_release

# Messages that each person has acknowledged before the next thing happens.
_SOME = 20
# A call that takes longer than its deadline is an error to the library alone.
_ERROR = re.compile(r'"level": "(ERROR|CRITICAL)", "logger": "(?!grpclib\.)')
_LONGEST_LINE = 400


class Rehearsal:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begun = time.monotonic()
        self._step = "start"
        self._failures = Failures()
        self._deployment = Deployment(folder)
        self.cluster = self._deployment.cluster

    async def run(self, seconds: float) -> int:
        """Runs all steps; returns the exit code."""
        try:
            async with asyncio.timeout(seconds):
                await self._rehearse()
        except (AssertionError, ExceptionGroup, TimeoutError, OSError) as error:
            self._say(f"FAILED in the step '{self._step}': {_reason(error)}")
            self._say(f"  repeated requests: {dict(self._failures.counts)}")
            self._say(f"  ends of live streams: {dict(self._failures.ends)}")
            traceback.print_exception(error)
            self.cluster.show_logs()
            return 1
        finally:
            await self.cluster.close()
        self._say(f"rehearsed in {time.monotonic() - self._begun:.0f} s")
        return 0

    async def _rehearse(self) -> None:
        async with self._timed("secrets made by one command"):
            await asyncio.to_thread(self._deployment.make_secrets)
        mail = MailSink()
        async with mail.listening(MAIL_PORT):
            async with self._timed("networks and hosts made"):
                await self.cluster.open()
            async with self._timed("cluster started, streams and logins made, every service ready"):
                await self.cluster.start()
            await self._assert_redirect()
            people = [Person(self._deployment.site, name, mail, self._failures) for name in ("anna", "boris")]
            try:
                async with self._timed("two people registered by mail and made friends"):
                    await asyncio.gather(*(person.register() for person in people))
                    await people[0].befriend(people[1])
                traffic = Traffic(people)
                async with traffic.flowing():
                    await self._disturb(traffic)
                async with self._timed("every message in both histories once and in order, every delivery complete"):
                    count = await traffic.check()
                self._say(f"  {count} messages, {self.protocols(people)}")
            finally:
                for person in people:
                    await person.close()
            async with self._timed("read models equal to their streams (vestnik verify)"):
                await self._deployment.verify()
            async with self._timed("everything stopped"):
                await self._stop()

    async def _disturb(self, traffic: Traffic) -> None:
        cluster = self.cluster
        async with self._timed("a conversation over both gateways, with REST, SSE and WebSocket"):
            await traffic.grows_by(_SOME)
        async with self._timed("a NATS node killed", traffic):
            await cluster.hosts["nats-2"].kill()
            await traffic.grows_by(_SOME)
        async with self._timed("the NATS node back", traffic):
            await cluster.hosts["nats-2"].start()
            await traffic.grows_by(_SOME)
        for kind in cluster.replicated():
            async with self._timed(f"a process of {kind} killed, back by itself", traffic):
                name = cluster.names(kind)[0]
                await cluster.hosts[name].crash()
                await traffic.grows_by(_SOME)
                await cluster.wait_ready([name])
        async with self._timed("a host of messaging cut off from every network, and healed", traffic):
            await cluster.cut("messaging-2")
            await traffic.grows_by(_SOME)
            await cluster.heal("messaging-2")
            await cluster.wait_ready(["messaging-2"])
            await traffic.grows_by(_SOME)
        async with self._timed("the primary of PostgreSQL killed and fenced, the standby promoted", traffic):
            await cluster.hosts["postgres-1"].kill()
            await self._deployment.promote("postgres-2")
            await cluster.wait_ready(cluster.ours())
            await traffic.grows_by(_SOME)
        async with self._timed("the old primary back as the standby", traffic):
            await cluster.hosts["postgres-1"].start()
            await self._deployment.until_standby("postgres-1")
        release = await asyncio.to_thread(next_release, self._folder)
        await compiled(release.root)
        async with self._timed("one replica of every service and gateway upgraded, then the other", traffic):
            before = Counter(self._failures.counts)
            for number in ("1", "2"):
                names = [name for name in cluster.ours() if name.endswith(f"-{number}")]
                for name in names:
                    cluster.use_tree(name, release.root)
                await self._deployment.restart(names)
                await traffic.grows_by(_SOME)
            failed = Counter(self._failures.counts) - before
            assert not failed, f"requests that failed during the upgrade: {dict(failed)}"

    async def _stop(self) -> None:
        """Stops the front first, then the services, then what they use; each ends with exit code 0."""
        cluster = self.cluster
        order = [["nginx"], cluster.names("gateway"), cluster.ours(), cluster.names("nats"), cluster.names("postgres")]
        for names in order:
            running = [name for name in names if cluster.hosts[name].is_running]
            codes = await asyncio.gather(*(cluster.hosts[name].stop() for name in running))
            failed = {name: code for name, code in zip(running, codes, strict=True) if code != 0}
            assert not failed, f"ended with other exit codes than 0: {failed}"
        errors = [
            f"{name}: {line[:_LONGEST_LINE]}"
            for name in cluster.ours()
            for line in cluster.hosts[name].log_file.read_text(errors="replace").splitlines()
            if _ERROR.search(line)
        ]
        assert not errors, "\n".join(["errors in the logs:", *errors])

    async def _assert_redirect(self) -> None:
        """Unencrypted requests are redirected to the address that clients use."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://{PUBLIC}:8080/docs?a=1")
        expected = f"{self._deployment.site.url}/docs?a=1"
        assert (answer.status_code, answer.headers["location"]) == (301, expected)

    @asynccontextmanager
    async def _timed(self, step: str, traffic: Traffic | None = None) -> AsyncIterator[None]:
        self._step = step
        begun = time.monotonic()
        acknowledged = traffic.acknowledged if traffic is not None else 0
        failures = sum(self._failures.counts.values())
        yield
        more = ""
        if traffic is not None:
            failed = sum(self._failures.counts.values()) - failures
            more = f" ({traffic.acknowledged - acknowledged} messages acknowledged, {failed} requests repeated)"
        self._say(f"{time.monotonic() - begun:6.1f} s  {step}{more}")

    @staticmethod
    def protocols(people: list[Person]) -> str:
        counts = sum((person.protocols for person in people), Counter())
        return ", ".join(f"{count} answers over {protocol}" for protocol, count in counts.items())

    def _say(self, text: str) -> None:
        line = f"{time.monotonic() - self._begun:7.1f}  {text}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        with (self._folder / "rehearsal.log").open("a") as log:
            log.write(f"{line}\n")


def _reason(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_reason(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"
