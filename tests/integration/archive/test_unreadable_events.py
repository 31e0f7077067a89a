"""Events that this release cannot read: an export names them, and an import takes them where that was decided."""

from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from contracts.envelope import Provenance, encode, seal
from contracts.subjects import AUTH, MESSAGING, SESSION, conversation, credential, session
from contracts.upcasts import STEPS
from contracts.values.ids import new_id
from infra.archive.format.unreadable_events import Accepted, CannotBeImported, UnknownContent, within
from infra.archive.validation import validate
from tests.integration.archive.conftest import Deployment, sent, silent


async def store(deployment: Deployment, subject: str, payload: bytes) -> None:
    """Appends the bytes with the rights of the stream's owner, even if no release can read them."""
    owner = (await deployment.nats_parties.party(subject.split(".")[1])).nats
    await owner.request(subject, payload, headers={"Nats-Msg-Id": new_id()})


def of_a_later_release() -> bytes:
    envelope = seal(sent(1), aggregate_id="c", version=1, provenance=Provenance())
    return encode(msgspec.structs.replace(envelope, schema=2))


@pytest_asyncio.fixture
async def strange(source: Deployment) -> Deployment:
    """Two readable events, and between them some that no release, or only a later one, can read."""
    await source.append(conversation(new_id()), sent(1))
    await store(source, conversation(new_id()), of_a_later_release())
    await store(source, conversation(new_id()), of_a_later_release())
    await source.append(conversation(new_id()), sent(1))
    await store(source, session(new_id()), b'{"id":"\xff"}')
    await store(source, credential(new_id()), b"no event")
    return source


async def test_an_export_that_an_import_would_refuse_names_the_events_and_has_no_end(
    strange: Deployment, path: Path
) -> None:
    with pytest.raises(CannotBeImported) as refused:
        await strange.export(path, allow_unreadable=False)
    said = str(refused.value)
    assert f"4 events cannot be read by this release ({version('vestnik')})" in said
    for event in (
        "MESSAGING 2 (message.sent of schema 2, while this release knows schemas up to 1)",
        "MESSAGING 3 (message.sent of schema 2, while this release knows schemas up to 1)",
        "SESSION 1 (no event: ",
        "AUTH 1 (no event: ",
    ):
        assert event in said
    assert not validate(path, silent).sound


async def test_what_was_exported_all_the_same_is_imported_as_it_is(
    strange: Deployment, target: Deployment, path: Path
) -> None:
    exported = await strange.export(path, allow_unreadable=True)
    assert exported.unreadable == 4
    imported = await target.import_(path)
    assert await target.everything() == await strange.everything()
    assert any("imported unchanged: 4 events that this release cannot read, " in note for note in imported.notes)


async def test_what_operators_have_discarded_needs_no_other_word(
    strange: Deployment, target: Deployment, path: Path
) -> None:
    async def some() -> Accepted:
        return within({MESSAGING: [(2, 3)], AUTH: [(1, 1)]})

    async def all_of_them() -> Accepted:
        return within({MESSAGING: [(2, 3)], AUTH: [(1, 1)], SESSION: [(1, 1)]})

    with pytest.raises(CannotBeImported, match=r"1 event cannot be read .* SESSION 1 \(no event"):
        await strange.export(path, allow_unreadable=False, discarded=some)
    await strange.export(path, allow_unreadable=False, discarded=all_of_them)
    await target.import_(path)
    assert await target.everything() == await strange.everything()


async def test_a_file_that_a_later_release_could_read_is_imported_only_where_that_is_asked_for(
    source: Deployment, target: Deployment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.append(conversation(new_id()), sent(1))
    await store(source, conversation(new_id()), of_a_later_release())
    with monkeypatch.context() as later:
        later.setattr("contracts.events.message.MessageSent.SCHEMA", 2)
        later.setitem(STEPS, ("message.sent", 1), lambda data: data)
        assert (await source.export(path, allow_unreadable=False)).unreadable == 0
    with pytest.raises(UnknownContent, match=r"has 1 event that this release \(\S+\) cannot read: MESSAGING 2 \("):
        await target.import_(path)
    assert not any((await target.ends()).values())
    await target.import_(path, allow_unreadable=True)
    assert await target.everything() == await source.everything()
