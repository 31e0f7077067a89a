"""The keys of personal data have a backup of their own; no restore brings back what was destroyed."""

import asyncio
import hashlib
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts.errors import KeysUnavailable
from contracts.events.data_keys import DataKeysDestroyed, DataKeysHoldPlaced
from contracts.events.profile import ProfileUpdated
from contracts.events.user import UserCreated
from contracts.personal_data.key_ids import person_key, text_key
from contracts.subjects import AUTH, DATA_KEYS, data_keys, profile, user
from contracts.values.ids import new_id
from contracts.values.personal_data import Sealed
from infra.cli.accounts.data_keys import KeyNotLost, KeysDiffer
from infra.cli.main import cli
from infra.personal_data.key_backup import BadKeyBackup, claims_key
from infra.security.key_lifecycle import KeyTerms
from infra.security.sealing_keys import PERSONAL_DATA
from infra.security.secrets import TOPOLOGY, Secrets
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.topology import ensure_bucket
from tests.integration.archive.conftest import Deployment
from tests.integration.recorded_keys import Recorded
from tests.unit.infra.archive.conftest import export

AT = datetime(2026, 12, 1, tzinfo=UTC)
TERMS = KeyTerms(lead=timedelta(seconds=2), life=timedelta(0))


class Keys:
    """The keys of a deployment, as auth sees them."""

    def __init__(self, deployment: Deployment, store: KeyStore) -> None:
        self.deployment = deployment
        self.store = store
        self.ring = Secrets.load(deployment.folder / "secrets").personal_data_keys(TERMS)

    async def person(self) -> str:
        """A person with a key of texts; its id."""
        user_id = new_id()
        await KeyCreation(self.store, self.ring, Recorded()).create([text_key(new_id(), user_id, AT)])
        return user_id

    async def has(self, user_id: str) -> bool:
        """Whether the person's key exists; False: it was destroyed."""
        keys = await DataKeys(self.store, self.ring).find([person_key(user_id)])
        return keys[person_key(user_id)] is not None

    async def run(self, *arguments: str) -> Result:
        """`vestnik keys` with an operator's login."""
        settings = self.deployment.settings
        environment = {
            "VESTNIK_DATA_DIR": str(settings.data_dir),
            "VESTNIK_SECRETS_DIR": settings.secrets_dir,
            "VESTNIK_NATS_URL": settings.nats_url,
            "VESTNIK_ACCESS_KEY_LEAD_SECONDS": "2",
        }
        return await asyncio.to_thread(CliRunner().invoke, cli, ["keys", *arguments], env=environment)


async def opened(deployment: Deployment) -> Keys:
    await ensure_bucket((await deployment.nats_parties.party(TOPOLOGY)).nats, DATA_KEYS, replicas=1)
    return Keys(deployment, KeyStore((await deployment.nats_parties.party("auth")).nats))


@pytest.fixture
async def keys(source: Deployment) -> Keys:
    return await opened(source)


async def test_lost_keys_come_back_and_destroyed_ones_do_not(keys: Keys, tmp_path: Path) -> None:
    path, lost, destroyed = tmp_path / "keys", await keys.person(), await keys.person()
    kept = [await keys.person() for _ in range(3)]
    before = tmp_path / "before"
    assert (await keys.run("back-up", str(before))).exit_code == 0
    assert stat.S_IMODE(before.stat().st_mode) == 0o600
    assert claims_key(before) == Secrets.load(keys.deployment.folder / "secrets").claims_key
    await KeyDestruction(keys.store).destroy_person(destroyed)
    assert (await keys.run("back-up", str(path))).output.split(": ")[1] == "9 keys, 1 destroyed ones\n"
    for version in await keys.store.versions(person_key(lost)):
        await keys.store.erase(version.revision)
    # Of the older file the destroyed key is not taken.
    done = await keys.run("restore", str(before), "--reason", "a test", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "restored": 1,
        "present": 8,
        "destroyed_here": 1,
        "destroyed_now": 0,
        "destroyed_again": 0,
        "different": [],
        "erase_again": [],
    }
    assert [await keys.has(user_id) for user_id in (lost, destroyed, *kept)] == [True, False, True, True, True]
    again = await keys.run("restore", str(path), "--reason", "a test")
    assert "0 keys restored, 10 were there" in again.output


async def test_an_erasure_that_the_file_knows_is_done_again(keys: Keys, tmp_path: Path) -> None:
    path, user_id = tmp_path / "keys", await keys.person()
    [stored] = await keys.store.versions(person_key(user_id))
    await KeyDestruction(keys.store).destroy_person(user_id)
    assert (await keys.run("back-up", str(path))).exit_code == 0
    # The store of an earlier time.
    [tombstone] = await keys.store.versions(person_key(user_id))
    await keys.store.erase(tombstone.revision)
    await keys.store.put(person_key(user_id), stored.record, revision=0)
    assert await keys.has(user_id)
    # Its streams have the account, and not its erasure; of another one, which was registered later, they have nothing.
    later = await keys.person()
    await KeyDestruction(keys.store).destroy_person(later)
    await keys.deployment.append(user(user_id), UserCreated(username="anna"))
    done = await keys.run("restore", str(path), "--reason", "a test", "--json")
    result = json.loads(done.stdout)
    assert (result["destroyed_now"], result["erase_again"]) == (1, [user_id])
    assert not await keys.has(user_id)
    shown = await keys.run("restore", str(path), "--reason", "a test")
    assert f"vestnik erase {user_id} --yes" in shown.output
    await keys.deployment.append(data_keys(user_id), DataKeysDestroyed(reason="erasure"))
    again = await keys.run("restore", str(path), "--reason", "a test", "--json")
    assert json.loads(again.stdout)["erase_again"] == []


async def test_what_the_streams_call_destroyed_is_destroyed_before_an_older_backup_is_stored(
    keys: Keys, tmp_path: Path
) -> None:
    """Erased after the backup, and then the bucket was lost: of a key in the file, and of one that is younger."""
    path, erased, kept = tmp_path / "keys", await keys.person(), await keys.person()
    conversation = new_id()
    months = [text_key(conversation, kept, AT - timedelta(days=days)) for days in (0, 60)]
    await KeyCreation(keys.store, keys.ring, Recorded()).create(months)
    assert (await keys.run("back-up", str(path))).exit_code == 0
    younger = await keys.person()
    everyone = [person_key(user_id) for user_id in (erased, kept, younger)]
    for key_id in (*everyone, *months):
        for version in await keys.store.versions(key_id):
            await keys.store.erase(version.revision)
    for user_id in (erased, younger):
        await keys.deployment.append(data_keys(user_id), DataKeysDestroyed(reason="erasure"))
    # A hold's reason is sealed with a key that is lost now.
    reason: Any = Sealed(key=person_key(kept), ciphertext="x")
    held = await keys.deployment.append(data_keys(kept), DataKeysHoldPlaced(reason=reason))
    ended = DataKeysDestroyed(key_ids=(months[1],), reason="retention")
    await keys.deployment.append(data_keys(kept), ended, expected=held, version=2)

    stored: list[str] = []
    put = KeyStore.put

    async def noted(store: KeyStore, key_id: str, record: KeyRecord, *, revision: int) -> None:
        if record.destroyed_at is None:
            stored.append(key_id)
        await put(store, key_id, record, revision=revision)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeyStore, "put", noted)
        done = await keys.run("restore", str(path), "--reason", "a test", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["destroyed_again"], result["destroyed_here"]) == (3, 2)
    # Not for a moment.
    assert not {*everyone[::2], months[1]} & set(stored)
    assert [await keys.has(user_id) for user_id in (erased, kept, younger)] == [False, True, False]
    keys_by_id = await DataKeys(keys.store, keys.ring).find(months)
    assert [keys_by_id[key_id] is None for key_id in months] == [False, True]
    again = await keys.run("restore", str(path), "--reason", "a test", "--json")
    assert json.loads(again.stdout)["destroyed_again"] == 0


@pytest.mark.parametrize("knows", ["streams", "file"])
async def test_a_destruction_that_was_interrupted_after_the_tombstone_is_completed(
    keys: Keys, tmp_path: Path, knows: str
) -> None:
    path, user_id = tmp_path / "keys", await keys.person()
    [stored] = await keys.store.versions(person_key(user_id))
    if knows == "streams":
        assert (await keys.run("back-up", str(path))).exit_code == 0
        await keys.deployment.append(data_keys(user_id), DataKeysDestroyed(reason="erasure"))
    await keys.store.put(person_key(user_id), KeyRecord.tombstone(AT), revision=stored.revision)
    if knows == "file":
        assert (await keys.run("back-up", str(path))).exit_code == 0
    assert len(await keys.store.versions(person_key(user_id))) == 2
    done = await keys.run("restore", str(path), "--reason", "a test", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["restored"], result["destroyed_again"], result["destroyed_now"]) == (0, 0, 0)
    [version] = await keys.store.versions(person_key(user_id))
    assert version.record.destroyed_at == AT


async def test_a_key_is_the_same_whether_a_release_says_that_it_is_recorded_or_not(keys: Keys, tmp_path: Path) -> None:
    path, text = tmp_path / "keys", text_key(new_id(), await keys.person(), AT)
    await KeyCreation(keys.store, keys.ring, Recorded()).create([text])
    assert (await keys.run("back-up", str(path))).exit_code == 0
    [stored] = await keys.store.versions(text)
    await keys.store.erase(stored.revision)
    await keys.store.put(text, msgspec.structs.replace(stored.record, is_recorded=False), revision=0)
    done = await keys.run("restore", str(path), "--reason", "a test", "--json")
    assert done.exit_code == 0, done.output
    assert (json.loads(done.stdout)["present"], json.loads(done.stdout)["different"]) == (3, [])


async def test_keys_that_differ_stay_and_are_named(keys: Keys, target: Deployment, tmp_path: Path) -> None:
    path, user_id = tmp_path / "keys", await keys.person()
    assert (await keys.run("back-up", str(path))).exit_code == 0
    [stored] = await keys.store.versions(person_key(user_id))
    await keys.store.erase(stored.revision)
    await KeyCreation(keys.store, keys.ring, Recorded()).create([person_key(user_id)])
    done = await keys.run("restore", str(path), "--reason", "a test")
    assert isinstance(done.exception, KeysDiffer)
    assert person_key(user_id) in str(done.exception)
    assert await keys.has(user_id)


async def test_a_lost_key_counts_as_destroyed_once_its_loss_is_accepted_and_no_other_one(
    keys: Keys, tmp_path: Path
) -> None:
    lost, kept = await keys.person(), await keys.person()
    assert (await keys.run("back-up", str(tmp_path / "keys"))).exit_code == 0
    for user_id in (lost, kept):
        await keys.deployment.append(user(user_id), UserCreated(username="anna"))
    for version in await keys.store.versions(person_key(lost)):
        await keys.store.erase(version.revision)
    with pytest.raises(KeysUnavailable):
        await keys.has(lost)
    for user_id in (lost, kept):
        name: Any = Sealed(key=person_key(user_id), ciphertext="x")
        await keys.deployment.append(profile(user_id), ProfileUpdated(display_name=name))
    assert json.loads((await keys.run("lost", "--json")).stdout) == [person_key(lost)]
    nobody = new_id()
    for key_id in (person_key(kept), person_key(nobody), text_key(new_id(), nobody, AT)):
        refused = await keys.run("accept-loss", key_id, "--reason", "a test")
        assert isinstance(refused.exception, KeyNotLost), key_id
    assert await keys.store.versions(person_key(nobody)) == []
    assert (await keys.run("accept-loss", "person.>", "--reason", "a test")).exit_code == 2
    assert (await keys.run("accept-loss", person_key(lost), "--reason", "a test")).exit_code == 0
    assert [await keys.has(user_id) for user_id in (lost, kept)] == [False, True]
    assert (await keys.run("lost")).output == "no key is lost\n"
    again = await keys.run("accept-loss", person_key(lost), "--reason", "a test")
    assert isinstance(again.exception, KeyNotLost)
    # An older backup that is restored after the loss of the bucket brings the other key back, and not this one.
    for key_id in (person_key(lost), person_key(kept)):
        for version in await keys.store.versions(key_id):
            await keys.store.erase(version.revision)
    done = await keys.run("restore", str(tmp_path / "keys"), "--reason", "a test", "--json")
    assert json.loads(done.stdout)["destroyed_again"] == 1
    assert [await keys.has(user_id) for user_id in (lost, kept)] == [False, True]


async def test_a_loss_whose_acceptance_was_interrupted_is_accepted_again(keys: Keys) -> None:
    lost = await keys.person()
    await keys.deployment.append(user(lost), UserCreated(username="anna"))
    await KeyDestruction(keys.store).destroy_person(lost)
    assert (await keys.run("accept-loss", person_key(lost), "--reason", "a test")).exit_code == 0
    message = await (await keys.deployment.log_of(AUTH)).last(data_keys(lost))
    assert message is not None
    assert message.open().data == DataKeysDestroyed(key_ids=(person_key(lost),), reason="loss_accepted")


async def test_a_key_that_is_back_before_its_loss_is_accepted_is_kept(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await keys.person()
    await keys.deployment.append(user(user_id), UserCreated(username="anna"))

    async def nothing(store: KeyStore, key_id: str) -> None:
        """The key was restored a moment later."""

    monkeypatch.setattr(KeyStore, "latest", nothing)
    refused = await keys.run("accept-loss", person_key(user_id), "--reason", "a test")
    assert isinstance(refused.exception, KeyNotLost)
    assert await keys.has(user_id)


async def test_a_file_that_is_damaged_cut_off_or_something_else_changes_nothing(keys: Keys, tmp_path: Path) -> None:
    path, user_id = tmp_path / "keys", await keys.person()
    assert (await keys.run("back-up", str(path))).exit_code == 0
    for version in await keys.store.versions(person_key(user_id)):
        await keys.store.erase(version.revision)
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    damages = [
        b"",
        b"x",
        b"{}\n",
        content[:-2],
        b"".join(lines[:-1]),
        b"".join([*lines[:1], *lines[2:]]),
        content.replace(b"wrapped", b"wrappes", 1),
        content.replace(user_id.encode(), new_id().encode(), 1),
        content.replace(b"person.", b"person>", 1),
        content + lines[1],
        b"\xff" + content,
    ]
    for damaged in damages:
        path.write_bytes(damaged)
        done = await keys.run("restore", str(path), "--reason", "a test")
        assert isinstance(done.exception, BadKeyBackup), damaged
    assert await keys.store.versions(person_key(user_id)) == []


async def test_the_keys_of_a_stopped_system_that_was_imported_are_restored(keys: Keys, tmp_path: Path) -> None:
    path, exported, user_id = tmp_path / "keys", tmp_path / "export", await keys.person()
    assert (await keys.run("back-up", str(path))).exit_code == 0
    exported.write_bytes(export())
    imported = tmp_path / "imported"

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, cli, [*arguments, "--reason", "a test"], env={"VESTNIK_DATA_DIR": str(imported)}
        )

    assert (await run("import", str(exported))).exit_code == 0
    restored = await run("keys", "restore", str(path), "--json")
    assert restored.exit_code == 0, restored.output
    assert json.loads(restored.stdout)["restored"] == 2
    assert (await run("keys", "back-up", str(tmp_path / "again"))).exit_code == 0
    assert user_id in (tmp_path / "again").read_text()


async def test_an_export_of_the_events_has_no_key(keys: Keys, tmp_path: Path) -> None:
    user_id = await keys.person()
    [stored] = await keys.store.versions(person_key(user_id))
    await keys.deployment.append(user(user_id), UserCreated(username="anna"))
    await keys.deployment.export(tmp_path / "export")
    content = (tmp_path / "export").read_bytes()
    assert stored.record.wrapped.encode() not in content
    assert DATA_KEYS.encode() not in content


async def test_a_rotated_master_key_wraps_everything_and_the_older_one_is_not_needed(keys: Keys) -> None:
    people = [await keys.person() for _ in range(3)]
    folder = keys.deployment.folder / "secrets"
    [old] = PERSONAL_DATA.ids(folder)
    # The lead is over.
    new = PERSONAL_DATA.make(folder, datetime.now(UTC) + timedelta(seconds=1))
    async with asyncio.timeout(60):
        while keys.ring.current().tag.hex() != new[-8:]:
            await asyncio.sleep(0.05)
    done = await keys.run("personal-data", "--json")
    uses = {
        use["tag"]: (use["persons"], use["present"], use["current"]) for use in json.loads(done.stdout)["master_keys"]
    }
    assert uses == {old[-8:]: (3, True, False), new[-8:]: (0, True, True)}
    rewrapped = await keys.run("rewrap", "--reason", "a test")
    assert rewrapped.output.startswith("3 keys of persons")
    assert rewrapped.output.endswith(f"{new[-8:]}\n")
    (folder / f"personal-data-{old}.key").unlink()
    after = json.loads((await keys.run("personal-data", "--json")).stdout)
    assert [(use["tag"], use["persons"]) for use in after["master_keys"]] == [(new[-8:], 3)]
    assert after["texts"] == 3
    assert [await keys.has(user_id) for user_id in people] == [True] * 3
    assert "current" in (await keys.run("personal-data")).output


async def test_a_command_that_adds_a_master_key_names_it(keys: Keys) -> None:
    done = await keys.run("rotate-personal-data", "--reason", "a test")
    assert done.exit_code == 0, done.output
    ids = PERSONAL_DATA.ids(keys.deployment.folder / "secrets")
    assert len(ids) == 2
    assert any(key_id in done.output for key_id in ids)


async def test_a_rewrapping_before_the_lead_of_the_new_master_key_is_over_says_so(keys: Keys) -> None:
    coming = PERSONAL_DATA.make(keys.deployment.folder / "secrets", datetime.now(UTC) + timedelta(hours=1))
    done = await keys.run("rewrap", "--reason", "a test")
    assert f"the key {coming} wraps nothing before its lead is over" in done.output


async def test_a_restore_says_that_the_key_of_claims_differs_and_leaves_it(keys: Keys, tmp_path: Path) -> None:
    path, folder = tmp_path / "keys", keys.deployment.folder / "secrets"
    await keys.person()
    assert (await keys.run("back-up", str(path))).exit_code == 0
    same = await keys.run("restore", str(path), "--reason", "a test")
    assert (same.exit_code, same.stderr) == (0, "")
    (folder / "claims.key").write_bytes(b"another")
    differs = await keys.run("restore", str(path), "--reason", "a test")
    assert differs.exit_code == 0, differs.output
    assert "is not the one in the secrets folder" in differs.stderr
    assert (folder / "claims.key").read_bytes() == b"another"


async def test_a_file_of_a_release_that_had_no_key_of_claims_in_it_is_restored(keys: Keys, tmp_path: Path) -> None:
    path, before, user_id = tmp_path / "keys", tmp_path / "before", await keys.person()
    assert (await keys.run("back-up", str(path))).exit_code == 0
    header, *lines, _ = path.read_bytes().splitlines(keepends=True)
    old = {name: value for name, value in json.loads(header).items() if name != "claims_key"}
    content = [json.dumps(old).encode() + b"\n", *lines]
    end = {"lines": len(lines), "sha256": hashlib.sha256(b"".join(content)).hexdigest()}
    before.write_bytes(b"".join([*content, json.dumps(end).encode() + b"\n"]))
    for version in await keys.store.versions(person_key(user_id)):
        await keys.store.erase(version.revision)
    done = await keys.run("restore", str(before), "--reason", "a test")
    assert (done.exit_code, done.stderr, claims_key(before)) == (0, "", None)
    assert await keys.has(user_id)
