"""Verifications and rebuilds of read models that an operator starts from the page, one at a time.

A job runs `vestnik verify` or `vestnik rebuild` in a child process that yields the processor to the services. The child
ends with this process; an interrupted rebuild is resumed by the next one. Jobs are kept in memory; the stream OPERATOR
records what was started by whom, and how it ended.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from datetime import UTC, datetime
from typing import Literal

import msgspec

from contracts.errors import MaintenanceUnderWay, NotFound
from contracts.values.ids import new_id
from infra.embedded.child_process import Child
from infra.settings import Settings
from projections.engine.inspection.table_diff import Difference
from projections.engine.inspection.verify import Verdict
from projections.engine.rebuild.one_key import RebuiltKey
from projections.engine.rebuild.progress import Progress
from projections.engine.rebuild.rebuild import Rebuilt
from projections.registry import choose
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Act, Recorder
from services.operator.redaction import REDACTED

Kind = Literal["verify", "rebuild"]
# Jobs kept in memory.
_KEPT = 10
# Seconds that a stopped child has to end cleanly.
_PATIENCE = 10.0
_OPTIONS = ("--json", "--progress-json")
# Key values that may be shown: ids, numbers and times.
_IMPERSONAL = re.compile(r"[0-9a-fA-F:TZ .+-]*")


class RowDiffers(msgspec.Struct, frozen=True, kw_only=True):
    """A row that differs, without its values."""

    table: str
    # `changed`, `missing` (only in the streams) or `extra` (only in the live table).
    kind: str
    key: dict[str, str]
    # Names of the columns that differ.
    columns: list[str]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """Verdict of a verification, as the page shows it."""

    equal: bool
    rows: int
    events: int
    changed: int
    missing: int
    extra: int
    lost: list[str]
    dead_letters: int
    dead_letters_rebuilt: int
    discarded: int
    seconds: float
    # The first few.
    differences: list[RowDiffers]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a read model is rebuilt, and how fast; by default all of it, as fast as possible."""

    # The key whose rows alone are rebuilt.
    only: str = ""
    # The most events a second; 0: no limit.
    rate: int = 0

    def options(self) -> list[str]:
        """For the command."""
        return [*([f"--only={self.only}"] if self.only else []), *([f"--rate={self.rate}"] if self.rate else [])]

    def details(self) -> dict[str, str]:
        """For the record of the act, as the command records them."""
        return {**({"only": self.only} if self.only else {}), **({"rate": str(self.rate)} if self.rate else {})}


_WHOLE = Scope()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: Kind
    projection: str
    scope: Scope = _WHOLE
    # The operator's username.
    by: str
    # `running`, `done`, `failed` or `cancelled`.
    state: str
    started_at: datetime
    ended_at: datetime | None = None
    # None before the first event was read.
    progress: Progress | None = None
    verified: Verified | None = None
    rebuilt: Rebuilt | None = None
    # If the rows of one key were rebuilt.
    rebuilt_key: RebuiltKey | None = None
    # Why it failed.
    error: str | None = None


class Jobs(msgspec.Struct, frozen=True, kw_only=True):
    # What can be verified and rebuilt.
    projections: list[str]
    # The newest first.
    items: list[Job]


class _Failed(msgspec.Struct, frozen=True):
    error: str


class _Line(msgspec.Struct, frozen=True):
    """A line of the command's output: progress or outcome."""

    progress: Progress | None = None
    projections: list[Verdict] = []
    rebuilt: list[msgspec.Raw] = []
    failed: list[_Failed] = []


class Maintenance:
    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        self._environ = settings.environment()
        self._recorder = recorder
        self._jobs: list[Job] = []
        self._child: Child | None = None
        self._running: asyncio.Task[None] | None = None
        # A job is being recorded, and starts next.
        self._starting = False
        self._cancelled = False
        self._complaint = ""

    def jobs(self) -> Jobs:
        return Jobs(projections=[projection.name for projection in choose(())], items=self._jobs)

    def running(self, job_id: str) -> Job:
        """The job, if it is running.

        Raises:
            NotFound: it is not.
        """
        job = self._jobs[0] if self._jobs else None
        if job is None or job.id != job_id or self._running is None:
            raise NotFound("It is not running.")
        return job

    async def start(self, kind: Kind, projection: str, by: Actor, *, scope: Scope = _WHOLE, reason: str = "") -> Job:
        """Records a job as the operator's act, and starts it in the background.

        Raises:
            MaintenanceUnderWay: another job is running.
            UnknownProjection: there is no such read model.
            Unavailable, DeadlineExceeded, HistoryLost: it was not recorded, so it is not started.
        """
        choose((projection,))
        if self._running is not None or self._starting:
            raise MaintenanceUnderWay
        self._starting = True
        try:
            act = await self._recorder.begin(
                by, f"read_model.{kind}", target=projection, details=scope.details(), reason=reason
            )
        finally:
            self._starting = False
        job = Job(
            id=new_id(),
            kind=kind,
            projection=projection,
            scope=scope,
            by=by.name,
            state="running",
            started_at=datetime.now(UTC),
        )
        self._jobs = [job, *self._jobs][:_KEPT]
        self._cancelled, self._complaint = False, ""
        self._running = asyncio.create_task(self._run(job, act), name=f"{kind} {projection}")
        return job

    def cancel(self, job_id: str) -> Job:
        """Cancels the running job, which ends a moment later.

        Raises:
            NotFound: the job is not running.
        """
        job = self.running(job_id)
        self._cancelled = True
        if self._child is not None:
            self._child.send(signal.SIGINT)
        return job

    async def close(self) -> None:
        """Cancels the running job and waits until it has ended."""
        running = self._running
        if running is not None:
            self._cancelled = True
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    async def _run(self, job: Job, act: Act) -> None:
        command = [job.kind, job.projection, *_OPTIONS, *job.scope.options(), "--action", act.id]
        try:
            # An absolute path, since the launcher does not search `PATH`.
            self._child = child = await Child.start(
                [sys.executable, "-m", "infra.cli.main", *command],
                death_signal=signal.SIGTERM,
                environ={**os.environ, **self._environ},
                on_line=self._on_line,
            )
            try:
                if self._cancelled:
                    child.send(signal.SIGINT)
                await child.wait()
            except asyncio.CancelledError:
                await child.stop(signal.SIGINT, _PATIENCE)
                raise
        except OSError as error:
            self._complaint = str(error)
        finally:
            self._child = self._running = None
            self._ended(act)
            await self._recorder.end(act)

    def _on_line(self, text: str) -> None:
        """Updates the job from a line of the command's output."""
        try:
            line = msgspec.json.decode(text, type=_Line)
        except msgspec.DecodeError:
            self._complaint = text.removeprefix("vestnik: ")
            return
        if line.progress is not None:
            self._change(progress=line.progress)
        for verdict in line.projections:
            self._change(verified=_verified(verdict))
        for rebuilt in line.rebuilt:
            if self._jobs[0].scope.only:
                self._change(rebuilt_key=msgspec.json.decode(rebuilt, type=RebuiltKey))
            else:
                self._change(rebuilt=msgspec.json.decode(rebuilt, type=Rebuilt))
        for failed in line.failed:
            self._change(error=failed.error)

    def _ended(self, act: Act) -> None:
        """Notes how the newest job ended; its process is gone."""
        job = self._jobs[0]
        if job.verified or job.rebuilt or job.rebuilt_key:
            self._change(state="done")
        elif self._cancelled:
            self._change(state="cancelled")
            act.ends("cancelled")
        else:
            error = job.error or self._complaint or "It ended without a result."
            self._change(state="failed", error=error)
            act.ends("failed", error)
        self._change(ended_at=datetime.now(UTC))

    def _change(self, **fields: object) -> None:
        """Changes the newest job, the only one that may be running."""
        self._jobs = [msgspec.structs.replace(self._jobs[0], **fields), *self._jobs[1:]]


def _verified(verdict: Verdict) -> Verified:
    return Verified(
        equal=verdict.equal,
        rows=verdict.rows,
        events=verdict.events,
        changed=verdict.changed,
        missing=verdict.missing,
        extra=verdict.extra,
        lost=verdict.lost,
        dead_letters=verdict.dead_letters,
        dead_letters_rebuilt=verdict.dead_letters_rebuilt,
        discarded=verdict.discarded,
        seconds=verdict.seconds,
        differences=[_differs(difference) for difference in verdict.differences],
    )


def _differs(difference: Difference) -> RowDiffers:
    key = {
        name: value if value is not None and _IMPERSONAL.fullmatch(value) else REDACTED
        for name, value in difference.key.items()
    }
    return RowDiffers(table=difference.table, kind=difference.kind.value, key=key, columns=sorted(difference.columns))
