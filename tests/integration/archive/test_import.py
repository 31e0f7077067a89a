"""What an import does to the streams of a system with rights, and what it never does."""

import asyncio
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.events.notary import EndReason
from contracts.events.user import UserCreated
from contracts.subjects import AUTH, CONTACT, MESSAGING, NOTARY, OPERATOR, STREAMS
from contracts.values.ids import new_id
from infra.archive import exporter, quiesce
from infra.archive.format import layout
from infra.archive.format.layout import Header
from infra.archive.importer import Interfered, NotEmpty, Steps
from infra.archive.key_fingerprint import CLAIMS, ClaimsKeyMissing, PasswordsLost
from infra.archive.quiesce import ServicesAtWork
from infra.operator_errors import OperatorError
from infra.runtime.import_marker import ImportUnderWay, get_import_marker
from infra.security.secrets import Secrets
from streams.loss.replaced_history import replaced
from streams.reader import Reader
from tests.integration.archive.conftest import Deployment, silent, unheard


class Interrupted(Exception):
    """Represents any exception that aborts an import."""


def interrupted_after(events: int) -> Steps:
    def appended(done: int, total: int) -> None:
        if done >= events:
            raise Interrupted

    return Steps(silent, appended, unheard)


async def test_every_event_is_at_the_place_that_it_had_byte_for_byte(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    exported = await filled.export(path)
    imported = await target.import_(path)
    assert await target.everything() == await filled.everything()
    assert imported.events == exported.events == sum((await filled.ends()).values())
    assert imported.found == 0
    jetstream = await target.jetstream()
    assert await get_import_marker(jetstream) is None
    # So that the notary ends the trees that the heads in the export are of.
    recorded = replaced((await jetstream.info(NOTARY)).config)
    assert [(entry.reason, entry.source) for entry in recorded] == [(EndReason.IMPORT, exported.id)]


async def test_a_file_of_a_release_that_did_not_have_a_stream_is_imported_as_it_is(
    filled: Deployment, target: Deployment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = exporter.fixed_ends

    async def of_before(nc: Client) -> dict[str, int]:
        return {stream: end for stream, end in (await every(nc)).items() if stream != OPERATOR}

    monkeypatch.setattr(exporter, "fixed_ends", of_before)
    await filled.export(path)
    await target.import_(path)
    assert await target.everything() == await filled.everything() | {OPERATOR: []}


async def test_an_export_of_what_was_imported_holds_the_same(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    await target.import_(path)
    again = await target.export(path.with_name("again"))
    assert again.streams == (await filled.export(path.with_name("once more"))).streams


async def test_the_system_goes_on_behind_the_last_event(filled: Deployment, target: Deployment, path: Path) -> None:
    user = new_id()
    before = await filled.append(subjects.user(user), UserCreated(username="boris"))
    await filled.export(path)
    await target.import_(path)
    changed = UserCreated(username="boris", display_name="Boris")
    assert await target.append(subjects.user(user), changed, expected=before, version=2) == before + 1


async def test_no_key_is_in_it_and_those_that_differ_are_spoken_of(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    notes = (await target.import_(path)).notes
    of_source, of_target = (Secrets.load(deployment.folder / "secrets") for deployment in (filled, target))
    assert of_target.refresh_key != of_source.refresh_key
    assert [note.split()[0].rsplit("/")[-1] for note in notes] == [
        "refresh.key",
        "mail.key",
        "password.key",
        *of_source.totp_key_files(),
        "imported",
    ]
    data = path.read_bytes()
    for key in (
        of_source.claims_key,
        b64encode(of_source.claims_key),
        of_source.refresh_key,
        of_source.mail_key,
        of_source.password_key,
        *of_source.totp_key_files().values(),
        of_source.nats_password("auth").encode(),
    ):
        assert key not in data


def lose_claims_key(deployment: Deployment) -> None:
    (deployment.folder / "secrets" / CLAIMS).write_bytes(b"of another deployment, it is 32 long")


async def test_without_the_key_of_claims_nothing_is_imported(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    lose_claims_key(target)
    with pytest.raises(ClaimsKeyMissing, match=r"claims\.key is not the key .* with --keys FILE"):
        await target.import_(path)
    with pytest.raises(ClaimsKeyMissing, match="nor does the backup of the keys have it"):
        await target.import_(path, claims_key=b"neither")
    (target.folder / "secrets" / CLAIMS).unlink()
    with pytest.raises(ClaimsKeyMissing):
        await target.import_(path)
    assert set((await target.ends()).values()) == {0}
    assert await get_import_marker(await target.jetstream()) is None


async def test_the_key_of_claims_may_be_given_with_it(filled: Deployment, target: Deployment, path: Path) -> None:
    await filled.export(path)
    lose_claims_key(target)
    key = Secrets.load(filled.folder / "secrets").claims_key
    notes = (await target.import_(path, claims_key=key)).notes
    assert Secrets.load(target.folder / "secrets").claims_key == key
    assert any("claims.key is now the export's key" in note for note in notes)


async def test_an_export_of_a_release_that_had_the_key_of_claims_in_it_brings_it_along(
    filled: Deployment, target: Deployment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Secrets.load(filled.folder / "secrets").claims_key

    def of_before(**fields: Any) -> Header:  # noqa: ANN401 - of the header
        del fields["fingerprints"]["claims.key"]
        return Header(**fields, claims_key=key)

    monkeypatch.setattr(exporter, "Header", of_before)
    monkeypatch.setattr(layout, "VERSION", 1)
    await filled.export(path)
    monkeypatch.undo()
    lose_claims_key(target)
    await target.import_(path)
    assert Secrets.load(target.folder / "secrets").claims_key == key
    assert await target.everything() == await filled.everything()


async def test_without_the_key_of_the_passwords_nothing_is_imported_unless_they_are_given_up(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    with pytest.raises(PasswordsLost, match=r"password\.key .* --passwords-lost"):
        await target.import_(path, passwords_lost=False)
    assert set((await target.ends()).values()) == {0}
    assert await get_import_marker(await target.jetstream()) is None
    (note,) = [line for line in (await target.import_(path)).notes if line.startswith("password.key")]
    assert "reset" in note


async def test_with_the_key_of_the_passwords_there_is_nothing_to_give_up(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    shutil.copy(filled.folder / "secrets" / "password.key", target.folder / "secrets" / "password.key")
    imported = await target.import_(path, passwords_lost=False)
    assert imported.events
    assert not any(note.startswith("password.key") for note in imported.notes)


async def test_a_system_that_is_not_empty_is_refused_and_left_as_it_is(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    await target.append(subjects.friendship(new_id()), UserCreated(username="x"))
    before, key = await target.everything(), Secrets.load(target.folder / "secrets").claims_key
    with pytest.raises(NotEmpty, match=r"CONTACT \(1 events\)"):
        await target.import_(path)
    assert await target.everything() == before
    assert await get_import_marker(await target.jetstream()) is None
    assert Secrets.load(target.folder / "secrets").claims_key == key


async def test_a_damaged_file_changes_nothing(filled: Deployment, target: Deployment, path: Path) -> None:
    await filled.export(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(OperatorError, match="damaged"):
        await target.import_(path)
    assert set((await target.ends()).values()) == {0}
    assert await get_import_marker(await target.jetstream()) is None


@pytest.mark.parametrize("events", [1, 1_500, 2_701])
async def test_an_import_that_was_interrupted_goes_on_where_it_was(
    filled: Deployment, target: Deployment, path: Path, events: int
) -> None:
    await filled.export(path)
    with pytest.raises(Interrupted):
        await target.import_(path, steps=interrupted_after(events))
    there = sum((await target.ends()).values())
    assert there >= events
    assert await get_import_marker(await target.jetstream()) is not None
    assert (await target.import_(path)).found == there
    assert await target.everything() == await filled.everything()


async def test_a_system_that_is_half_imported_is_neither_exported_nor_filled_from_another_export(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    with pytest.raises(Interrupted):
        await target.import_(path, steps=interrupted_after(1))
    with pytest.raises(ImportUnderWay):
        await target.export(path.with_name("half"))
    await filled.export(path.with_name("other"))
    with pytest.raises(OperatorError, match="the import of another export"):
        await target.import_(path.with_name("other"))


async def test_who_appends_meanwhile_is_found_out_and_named(filled: Deployment, target: Deployment, path: Path) -> None:
    await filled.export(path)
    with pytest.raises(Interrupted):
        await target.import_(path, steps=interrupted_after(1_000))
    end = (await target.ends())[MESSAGING]
    await target.append(subjects.conversation(new_id()), UserCreated(username="x"))
    with pytest.raises(Interfered, match=f"event {end + 1:,} of MESSAGING differs from the file's"):
        await target.import_(path)
    assert await get_import_marker(await target.jetstream()) is not None


async def test_who_appends_to_a_stream_that_is_still_empty_is_found_out_too(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    with pytest.raises(Interrupted):
        await target.import_(path, steps=interrupted_after(1))
    for _ in range(2):
        await target.append(subjects.friendship(new_id()), UserCreated(username="x"))
    with pytest.raises(Interfered, match=CONTACT):
        await target.import_(path)


async def test_services_that_do_not_stop_keep_an_import_from_beginning(
    filled: Deployment, target: Deployment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled.export(path)
    said: list[str] = []
    party, operator = await target.nats_parties.party("auth"), await target.nats_parties.party("operator")
    # The consumer of an operator's command, which keeps nothing.
    async with Reader(operator.nats, AUTH, name="events") as command:
        await anext(aiter(command.batches()))
        async with (
            Reader(party.nats, AUTH, name="projection-users") as reader,
            Reader(operator.nats, AUTH, name="projection-anomalies") as operators_reader,
        ):
            await anext(aiter(reader.batches()))
            await anext(aiter(operators_reader.batches()))
            with monkeypatch.context() as impatient:
                impatient.setattr(quiesce, "_PATIENCE", 0.5)
                with pytest.raises(ServicesAtWork, match="auth, operator;"):
                    await target.import_(path, alone=False, steps=Steps(silent, silent, said.append))
        assert said == ["waiting for auth, operator to stop; they restart by themselves"]
        assert set((await target.ends()).values()) == {0}
        assert await get_import_marker(await target.jetstream()) is None
        await target.import_(path, alone=False)
    assert await target.ends() == await filled.ends()


async def test_an_import_that_is_given_up_before_its_first_event_leaves_the_system_to_the_services(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    party = await target.nats_parties.party("auth")
    waiting = asyncio.Event()
    async with Reader(party.nats, AUTH, name="projection-users") as reader:
        await anext(aiter(reader.batches()))
        steps = Steps(silent, silent, lambda _: waiting.set())
        importing = asyncio.create_task(target.import_(path, alone=False, steps=steps))
        async with asyncio.timeout(60):
            await waiting.wait()
        assert await get_import_marker(await target.jetstream()) is not None
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing
    assert await get_import_marker(await target.jetstream()) is None


async def test_without_the_passwords_of_the_owners_nothing_is_imported(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    (target.folder / "secrets" / f"nats-{STREAMS[AUTH]}.password").unlink()
    with pytest.raises(OperatorError, match=r"nats-auth\.password does not exist"):
        await target.import_(path)
    assert set((await target.ends()).values()) == {0}


async def test_the_same_import_twice_at_once_brings_every_event_in_once(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    await filled.export(path)
    twice = (target.import_(path, alone=False), target.import_(path, alone=False))
    outcomes = await asyncio.gather(*twice, return_exceptions=True)
    assert await target.everything() == await filled.everything()
    assert await get_import_marker(await target.jetstream()) is None
    failed = [str(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(failed) < 2
    assert all("the other one has ended" in said or "at the same time" in said for said in failed)
