"""Commands of `vestnik keys` on the keys of personal data: overview, rewrapping, backup and restore."""

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import click
import msgspec
import uvloop
from nats.aio.client import Client as NATS

from contracts import envelope
from contracts.envelope import Provenance
from contracts.personal_data.key_ids import owner_of
from contracts.subjects import AUTH, BUCKETS, DATA_KEYS, user
from infra.archive.key_fingerprint import claims_key_of
from infra.archive.output_file import target
from infra.archive.stream_access import reach
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import acting
from infra.cli.output.tables import Column, console, fitted
from infra.operator_errors import OperatorError
from infra.personal_data import key_backup
from infra.personal_data.key_overview import KeyOverview
from infra.personal_data.key_overview import overview as overview_of
from infra.personal_data.lost_keys import lost_keys
from infra.personal_data.recorded_destructions import destroy_again, unrecorded_erasures
from infra.runtime.connections import connect_nats
from infra.security.key_lifecycle import KeyTerms
from infra.security.sealing_keys import PERSONAL_DATA, SealingKeys
from infra.security.secrets import TOPOLOGY, Secrets
from infra.settings import Settings
from services.auth.data_keys.domain import LOSS_ACCEPTED, KeyRing, decide_destroy
from services.auth.data_keys.rings import key_rings
from services.operator.actions.recorder import Act
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.key_value import Changed
from streams.jetstream.requests import RequestFailed
from streams.log import Log
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.keys.rewrapping import KeyRewrapping
from streams.repository import Repository
from streams.topology import Placement, ensure_bucket

_PATIENCE = 5.0
_COLUMNS = (Column("master key"), Column("state"), Column("persons", is_number=True))


class KeyNotLost(OperatorError):
    """The key is in the store, was destroyed already, or never existed."""


class KeysDiffer(OperatorError):
    """Keys in the store differ from those of the backup."""


class _Keys(msgspec.Struct, frozen=True):
    # With the login of the bucket's owner.
    store: KeyStore
    # The connection of the bucket's owner, who also keeps the key rings.
    owner: NATS
    master_keys: SealingKeys
    # An operator's connection, and the settings that go with it.
    operator: NATS
    settings: Settings

    def acting(self, action: str, target: str, reason: str | None) -> AbstractAsyncContextManager[Act]:
        return acting(self.settings, self.operator, action, target=target, reason=reason)


@click.command(name="personal-data")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def personal_data(as_json: bool) -> None:
    """Shows how many persons' keys each master key wraps. An older master key that wraps none may be deleted."""
    result = uvloop.run(_overview(Settings.load()))
    if as_json:
        _print_json(result)
        return
    shown = console()
    states = [(use.tag, _state(use.present, use.current), f"{use.persons:,}") for use in result.master_keys]
    shown.print(fitted(_COLUMNS, states, shown.width))
    shown.print(f"{result.texts:,} keys of texts, {result.destroyed:,} destroyed keys")


@click.command()
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
def rewrap(reason: str) -> None:
    """Wraps all persons' keys with the current master key, after `rotate-personal-data` and its lead.

    The system may be running. After an interruption the same command does what is left.
    """
    settings = Settings.load()
    rewrapped, tag = uvloop.run(_rewrap(settings, reason))
    click.echo(f"{rewrapped:,} keys of persons were rewrapped; all of them are wrapped with the master key {tag}")
    newest = PERSONAL_DATA.ids(settings.secrets_path)[-1]
    if not newest.endswith(tag):
        click.echo(f"the key {newest} wraps nothing before its lead is over; run this command again then")


@click.command(name="back-up")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--reason", type=Reason(), help="The reason; recorded permanently, in plain form.")
def back_up(file: Path, force: bool, reason: str | None) -> None:
    """Writes the keys of personal data to FILE, wrapped as they are stored, and `claims.key`.

    Keep it apart from the exports, and no longer than an erasure may take: together with an export and the master keys
    it brings back what was erased after it was made.
    """
    written = uvloop.run(_back_up(Settings.load(), file, force, reason))
    click.echo(f"{file}: {written.keys:,} keys, {written.destroyed:,} destroyed ones")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def restore(file: Path, reason: str, as_json: bool) -> None:
    """Stores the keys of FILE that are missing. What was destroyed, by the streams, here or in FILE, stays destroyed.

    The system may be running or stopped. Lists the accounts that were erased after the time of the streams, and have to
    be erased again. Exit code 1 if keys differ: those in the store stay.
    """
    settings = Settings.load()
    result = uvloop.run(_restore(settings, file, reason))
    if key_backup.claims_key(file) not in (None, claims_key_of(settings.secrets_path)):
        # The claims in the streams may be made with either.
        click.echo(f"note: claims.key of {file} is not the one in the secrets folder, which stays", err=True)
    if as_json:
        _print_json(result)
    else:
        click.echo(
            f"{result.restored:,} keys restored, {result.present:,} were there; {result.destroyed_here:,} were "
            f"destroyed here and stay so, {result.destroyed_now:,} were destroyed now, as in the file; "
            f"{result.destroyed_again:,} that the streams call destroyed were destroyed again"
        )
        for user_id in result.erase_again:
            click.echo(f"erased after the time of the streams: vestnik erase {user_id} --yes --reason TEXT")
    if result.different:
        names = ", ".join(result.different[:10])
        raise KeysDiffer(f"{len(result.different):,} keys differ from those of {file} and stay as they are: {names}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the ids as a JSON array.")
def lost(as_json: bool) -> None:
    """Lists the keys that events name and the store has lost, at most 100. Reads all events."""
    key_ids = uvloop.run(_lost(Settings.load()))
    if as_json:
        sys.stdout.write(msgspec.json.encode(key_ids).decode() + "\n")
        return
    for key_id in key_ids or ["no key is lost"]:
        click.echo(key_id)


@click.command(name="accept-loss")
@click.argument("key_id")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
def accept_loss(key_id: str, reason: str) -> None:
    """Declares the lost key KEY_ID destroyed: what it sealed counts as erased, and projections go on.

    Only for a key that is in no backup either, such as `person.<user id>`. It cannot be undone.
    """
    if owner_of(key_id) is None:
        raise click.UsageError(f"{key_id} is not the id of a key")
    uvloop.run(_accept_loss(Settings.load(), key_id, reason))
    click.echo(f"{key_id} counts as destroyed")


async def _lost(settings: Settings) -> list[str]:
    async with _system(settings) as system:
        return await lost_keys(system.operator, system.store)


async def _accept_loss(settings: Settings, key_id: str, reason: str) -> None:
    async with _system(settings) as system:
        owner = owner_of(key_id)
        assert owner is not None
        rings = key_rings(Log(system.owner, patience=_PATIENCE))
        has_tombstone = await _assert_is_lost(system, rings, key_id, owner)
        async with system.acting("keys.accept_loss", key_id, reason):
            if not has_tombstone:
                try:
                    # Only where there is no record: a key that was restored or created at this moment is kept.
                    await system.store.put(key_id, KeyRecord.tombstone(envelope.now()), revision=0)
                except Changed as error:
                    raise KeyNotLost(f"{key_id} is not lost any more; nothing was changed") from error
            # Of a backup that is found later, a restore does not take the key.
            await rings.execute(owner, lambda ring: decide_destroy(ring, [key_id], LOSS_ACCEPTED), Provenance())


async def _assert_is_lost(keys: _Keys, rings: Repository[KeyRing], key_id: str, owner: str) -> bool:
    """Returns whether its tombstone is there: an earlier attempt was interrupted before it recorded the key's end.

    Raises:
        KeyNotLost: the key is in the store, was destroyed, or the person never existed.
    """
    try:
        account = await JetStream(keys.operator, patience=_PATIENCE).last(AUTH, user(owner))
    except (Refused, RequestFailed) as error:
        raise OperatorError("the streams do not answer; nothing was changed") from error
    if account is None:
        raise KeyNotLost(f"there is no user {owner}; nothing was changed")
    stored = await keys.store.latest(key_id)
    if stored is None:
        return False
    if stored.record.destroyed_at is None or (await rings.load(owner)).state.is_destroyed(key_id):
        raise KeyNotLost(f"{key_id} is not lost; nothing was changed")
    return True


async def _overview(settings: Settings) -> KeyOverview:
    async with _system(settings) as system:
        tags = {key_id.rpartition("-")[2] for key_id in PERSONAL_DATA.ids(settings.secrets_path)}
        return await overview_of(system.store, tags, system.master_keys.current().tag.hex())


async def _rewrap(settings: Settings, reason: str) -> tuple[int, str]:
    """Wraps all persons' keys with the current master key; returns their number and the master key's tag."""
    async with _system(settings) as system, system.acting("keys.rewrap", "", reason):
        rewrapped = await KeyRewrapping(system.store, system.master_keys).run()
        return rewrapped, system.master_keys.current().tag.hex()


async def _back_up(settings: Settings, path: Path, force: bool, reason: str | None) -> key_backup.KeyBackup:
    async with _system(settings) as system:
        # The file first: what cannot be written is no backup.
        with target(path, force=force) as file:
            async with system.acting("keys.back_up", str(path), reason):
                return await key_backup.back_up(system.store, Secrets.load(settings.secrets_path).claims_key, file)


async def _restore(settings: Settings, path: Path, reason: str) -> key_backup.KeyRestore:
    key_backup.check(path)
    async with _system(settings, make=True) as system, system.acting("keys.restore", str(path), reason):
        # First, so that no key of the file is in the store that was destroyed since.
        recorded = await destroy_again(system.operator, system.store)
        result = await key_backup.restore(path, system.store, system.master_keys)
        erase_again = await unrecorded_erasures(system.operator, system.store)
        return msgspec.structs.replace(result, destroyed_again=recorded, erase_again=erase_again)


@asynccontextmanager
async def _system(settings: Settings, *, make: bool = False) -> AsyncIterator[_Keys]:
    """`make`: creates a missing bucket."""
    async with reach(settings, make=False) as server, AsyncExitStack() as stack:

        async def connected(party: Settings) -> NATS:
            connection = await connect_nats(party, "operator-keys", patience=_PATIENCE)
            stack.push_async_callback(connection.close)
            return connection

        if make:
            placement = Placement.parse(settings.stream_placement)
            topology = await connected(server.as_party(TOPOLOGY))
            await ensure_bucket(topology, DATA_KEYS, replicas=settings.stream_replicas, placement=placement)
        owner = await connected(server.as_party(BUCKETS[DATA_KEYS].owner))
        master_keys = Secrets.load(settings.secrets_path).personal_data_keys(KeyTerms.of(settings))
        yield _Keys(KeyStore(owner), owner, master_keys, await connected(server.settings), server.settings)


def _state(present: bool, current: bool) -> str:
    if not present:
        return "[red]missing[/]"
    return "[green]current[/]" if current else ""


def _print_json(result: msgspec.Struct) -> None:
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
