"""`vestnik projections`: pauses and resumes what services apply, skips an event, begins again from the first one."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import click
import msgspec
from nats.aio.client import Client as NATS

from contracts.durable_consumers import DURABLES
from contracts.values.timestamps import rfc3339
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import acting
from infra.cli.output.terminal_text import printable
from infra.cli.reader_connection import connect_reader
from infra.operator_errors import OperatorError
from infra.runtime.run_file import with_running_addresses
from infra.security.operator_accounts import Operators
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.controls import pause as pauses
from projections.engine.controls import reset as resetting
from projections.engine.controls import skip as skipping
from projections.engine.controls.pause import AlreadyPaused, Paused, Resumed
from projections.engine.controls.reset import Reset
from projections.engine.dead_letters.discards import Discarded
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.operator_connection import operator_connection
from projections.engine.storage.pauses import Pause
from projections.registry import UnknownProjection, choose
from services.operator.actions.recorder import Act
from streams.log import Log

# Seconds to wait for NATS, while a build's writer may be waiting for this command.
_PATIENCE = 5.0


class IsReaction(OperatorError):
    """The name is that of a reaction, which has none of these controls."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is a reaction, not a projection; of a reaction, `vestnik dead-letters` retries or discards events"
        )


class Control(NamedTuple):
    """An act on one projection, with the connections for it."""

    act: Act
    nc: NATS
    conn: Connection
    # Of the projection's service.
    database_url: str
    # The operators of the page, who are stored as the ids of their accounts.
    operators: Operators

    def with_name(self, pause: Pause) -> Pause:
        """The pause with the name of who paused the projection."""
        return msgspec.structs.replace(pause, paused_by=self.operators.name_of(pause.paused_by))


class Projections(click.Group):
    """Lists the commands in the order in which they are explained."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group("projections", cls=Projections)
def projections() -> None:
    """Controls what services apply to read models."""


@projections.command()
@click.argument("name", metavar="PROJECTION")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def pause(name: str, reason: str, as_json: bool) -> None:
    """Stops applying events to a read model, in every replica, until `resume`.

    Its rows stay as they are when the command returns. Reads go on; those of a later position get 503. Restarts do not
    end a pause, and a release with another version of the projection is not paused.
    """
    paused = asyncio.run(_pause(_projection(name), reason))
    at = ", ".join(f"{stream} {sequence:,}" for stream, sequence in paused.position.items()) or "no position"
    _print(paused, f"{paused.projection} is paused at {at}", as_json=as_json)


async def _pause(projection: type[Projection], reason: str) -> Paused:
    async with _control(projection, "read_model.pause", reason) as control:
        try:
            return await pauses.pause(control.conn, projection, reason=reason, by=control.act.actor.name)
        except AlreadyPaused as refused:
            raise AlreadyPaused(projection, control.with_name(refused.pause)) from refused


@projections.command()
@click.argument("name", metavar="PROJECTION")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def resume(name: str, reason: str, as_json: bool) -> None:
    """Ends a pause: services go on where the read model has stopped."""
    resumed = asyncio.run(_resume(_projection(name), reason))
    ended = resumed.pause
    since = f"{ended.paused_by} had paused it at {rfc3339(ended.paused_at)}: {ended.reason}"
    _print(resumed, f"{resumed.projection} goes on; {since}", as_json=as_json)


async def _resume(projection: type[Projection], reason: str) -> Resumed:
    async with _control(projection, "read_model.resume", reason) as control:
        resumed = await pauses.resume(control.conn, projection)
        return msgspec.structs.replace(resumed, pause=control.with_name(resumed.pause))


@projections.command()
@click.argument("name", metavar="PROJECTION")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def skip(name: str, reason: str, as_json: bool) -> None:
    """Passes over the event that a failed projection stops at, as `dead-letters discard` does with a dead letter.

    This version of the read model omits the event permanently, in every rebuild too. Its service goes on within
    seconds.
    """
    skipped = asyncio.run(_skip(_projection(name), reason))
    event = f"{skipped.stream} {skipped.sequence}, {skipped.type} of {skipped.aggregate_id}"
    _print(skipped, f"{name} passes over {event}: {skipped.error}", as_json=as_json)


async def _skip(projection: type[Projection], reason: str) -> Discarded:
    async with _control(projection, "read_model.skip", reason) as control:
        log = Log(control.nc, patience=_PATIENCE)
        skipped = await skipping.skip(
            control.conn, control.nc, log, projection, reason=reason, by=control.act.actor.name
        )
        control.act.is_final = True
        return skipped


@projections.command()
@click.argument("name", metavar="PROJECTION")
@click.option("--yes", is_flag=True, help="Confirm that the rows may be missing until all events are applied again.")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def reset(name: str, yes: bool, reason: str, as_json: bool) -> None:
    """Applies a read model's events again from where it begins, in place.

    It is empty at first, and reads of a later position get 503 until its service has applied all events again.
    `vestnik rebuild` does the same without a gap. The previous build is kept for `vestnik rebuild PROJECTION --back`.
    """
    projection = _projection(name)
    if not yes:
        raise click.UsageError(
            f"{name} will be empty until all events are applied again; `vestnik rebuild {name}` does it without a gap."
            " To reset it nevertheless, add --yes"
        )
    done = asyncio.run(_reset(projection, reason))
    _print(done, f"{name} begins again, build {done.build} is live; build {done.kept} is kept", as_json=as_json)


async def _reset(projection: type[Projection], reason: str) -> Reset:
    async with _control(projection, "read_model.reset", reason) as control:
        return await resetting.reset(projection, control.nc, control.database_url)


def _projection(name: str) -> type[Projection]:
    try:
        (projection,) = choose((name,))
    except UnknownProjection as error:
        if any(durable.name == name for durable in DURABLES):
            raise IsReaction(name) from error
        raise
    return projection


@asynccontextmanager
async def _control(projection: type[Projection], action: str, reason: str) -> AsyncIterator[Control]:
    """Records the act, with a connection for the projection's service.

    Raises:
        NotRecorded, Unavailable: nothing was done.
    """
    settings = with_running_addresses(Settings.load())
    owners = await ServiceSchemas.discover(settings.database_url)
    nc = await connect_reader(settings, "operator-projections", patience=_PATIENCE)
    try:
        database_url = owners.url(projection.run_by())
        async with (
            operator_connection(database_url, "vestnik projections") as conn,
            acting(settings, nc, action, target=projection.name, reason=reason) as act,
        ):
            yield Control(act, nc, conn, database_url, Operators(settings.secrets_path))
    finally:
        await nc.close()


def _print(result: msgspec.Struct, text: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        click.echo(printable(text))
