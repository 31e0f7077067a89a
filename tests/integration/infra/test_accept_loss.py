"""What a stream has lost is found and given up, also after an attempt that was cut off."""

from pathlib import Path

import pytest

from contracts.envelope import Provenance, seal
from contracts.errors import Unavailable
from contracts.events.notary import TreeHeadSigned
from contracts.services import NOTARY, OPERATOR
from contracts.subjects import MESSAGING, conversation, tree_head
from infra.cli.system.accept_loss import Loss, NothingLost, find, give_up, write_rows
from infra.security.service_schemas import ServiceSchemas
from projections.conversations import Conversations
from projections.engine.storage import builds
from projections.engine.storage.builds import BuildState
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from streams.jetstream.api import JetStream
from streams.log import Append, Log
from streams.loss import placeholders
from streams.loss.missing_events import Gap, accepted
from tests.integration.infra.nats_parties import Parties, parties, settings_of


async def fill(nats_parties: Parties, gap: Gap, *, batches: int | None = None) -> None:
    """Fills the gap as a command does that is killed before it records the decision, or after some batches."""
    log = Log((await nats_parties.party("messaging")).nats)
    append, calls = log.append_together, 0

    async def cut_off(*arguments: object) -> list[int]:
        nonlocal calls
        calls += 1
        if calls - 1 == batches:
            raise KeyboardInterrupt
        return await append(*arguments)  # type: ignore[arg-type]  # handed on as they came

    log.append_together = cut_off  # type: ignore[method-assign,assignment]  # for this one call
    try:
        await placeholders.fill(log, gap, "an operator")
    except KeyboardInterrupt:
        assert batches is not None


async def append(nats_parties: Parties, name: str) -> None:
    answer = await (await nats_parties.party("messaging")).ask(conversation(name), {})
    assert answer["stream"] == MESSAGING


async def applied(database_url: str, sequence: int) -> None:
    """Pretends that a read model has applied the stream up to here."""
    conn = await connect(database_url, "test")
    try:
        await ensure_schema(conn)
        build = await builds.add_build(conn, "conversations", 1, BuildState.LIVE)
        await builds.add_checkpoints(conn, build, {MESSAGING: sequence})
    finally:
        await conn.close()


async def decisions(nats_parties: Parties) -> list[tuple[int, int, bool]]:
    info = await JetStream((await nats_parties.party(OPERATOR)).nats).info(MESSAGING)
    return [(decision.first, decision.last, decision.filled) for decision in accepted(info.config)]


async def test_a_filling_that_was_not_recorded_is_recorded_though_its_owner_has_appended_behind_it(
    tmp_path: Path, database_url: str
) -> None:
    async with parties(tmp_path) as nats_parties:
        owners, operator = await ServiceSchemas.discover(database_url), (await nats_parties.party(OPERATOR)).nats
        await append(nats_parties, "a")
        await fill(nats_parties, Gap(MESSAGING, 2, 1_500))
        assert await find(operator, MESSAGING, owners) == Loss(1, [], Gap(MESSAGING, 2, 1_500), [])
        await append(nats_parties, "b")
        loss = await find(operator, MESSAGING, owners)
        assert (loss, str(loss)) == (Loss(1_501, [], None, [Gap(MESSAGING, 2, 1_500)]), "MESSAGING:2-1500")
        await give_up(settings_of(nats_parties, tmp_path), loss, MESSAGING, "an operator")
        assert await decisions(nats_parties) == [(2, 1_500, True)]
        with pytest.raises(NothingLost):
            await find(operator, MESSAGING, owners)


async def test_of_a_filling_that_was_cut_off_what_was_filled_is_recorded_when_its_owner_has_appended_behind_it(
    tmp_path: Path, database_url: str
) -> None:
    async with parties(tmp_path) as nats_parties:
        owners, operator = await ServiceSchemas.discover(database_url), (await nats_parties.party(OPERATOR)).nats
        await append(nats_parties, "a")
        await fill(nats_parties, Gap(MESSAGING, 2, 1_500), batches=1)
        assert await find(operator, MESSAGING, owners) == Loss(1, [], Gap(MESSAGING, 2, 1_500), [])
        await append(nats_parties, "b")
        loss = await find(operator, MESSAGING, owners)
        assert loss == Loss(1_002, [], None, [Gap(MESSAGING, 2, 1_001)])
        await give_up(settings_of(nats_parties, tmp_path), loss, MESSAGING, "an operator")
        assert await decisions(nats_parties) == [(2, 1_001, True)]
        with pytest.raises(NothingLost):
            await find(operator, MESSAGING, owners)


async def test_what_the_notary_has_signed_is_missed_though_no_read_model_has_applied_it(
    tmp_path: Path, database_url: str
) -> None:
    async with parties(tmp_path) as nats_parties:
        owners, operator = await ServiceSchemas.discover(database_url), (await nats_parties.party(OPERATOR)).nats
        await append(nats_parties, "a")
        head = TreeHeadSigned(
            stream=MESSAGING,
            tree=1,
            size=5,
            last_sequence=5,
            root="ab" * 32,
            at="2026-01-31T12:00:00.000Z",
            key_id="",
        )
        envelope = seal(head, aggregate_id=MESSAGING, version=1, provenance=Provenance())
        notary = Log((await nats_parties.party(NOTARY)).nats)
        await notary.append(Append(subject=tree_head(MESSAGING), expected=0, envelope=envelope))
        assert await find(operator, MESSAGING, owners) == Loss(1, [], Gap(MESSAGING, 2, 1_005), [])


async def test_the_next_loss_is_given_up_with_placeholders_of_another_system_in_the_stream(
    tmp_path: Path, database_url: str
) -> None:
    async with parties(tmp_path) as nats_parties:
        owners, operator = await ServiceSchemas.discover(database_url), (await nats_parties.party(OPERATOR)).nats
        await append(nats_parties, "a")
        # An import brings the placeholders and not the decision.
        await fill(nats_parties, Gap(MESSAGING, 2, 10))
        await append(nats_parties, "b")
        await applied(database_url, 13)
        loss = await find(operator, MESSAGING, owners)
        assert loss == Loss(11, [], Gap(MESSAGING, 12, 1_013), [Gap(MESSAGING, 2, 10)])
        await give_up(settings_of(nats_parties, tmp_path), loss, MESSAGING, "an operator")
        assert await decisions(nats_parties) == [(2, 10, True), (12, 1_013, True)]
        await append(nats_parties, "c")
        assert await Log(operator).end_of(MESSAGING) == 1_014
        with pytest.raises(NothingLost):
            await find(operator, MESSAGING, owners)


async def test_all_that_was_appended_behind_placeholders_without_a_decision_is_given_up_with_them(
    tmp_path: Path, database_url: str
) -> None:
    async with parties(tmp_path) as nats_parties:
        owners, operator = await ServiceSchemas.discover(database_url), (await nats_parties.party(OPERATOR)).nats
        await append(nats_parties, "a")
        await fill(nats_parties, Gap(MESSAGING, 2, 10))
        await applied(database_url, 13)
        loss = await find(operator, MESSAGING, owners)
        assert loss == Loss(1, [], Gap(MESSAGING, 2, 1_013), [])
        await give_up(settings_of(nats_parties, tmp_path), loss, MESSAGING, "an operator")
        assert await decisions(nats_parties) == [(2, 1_013, True)]
        with pytest.raises(NothingLost):
            await find(operator, MESSAGING, owners)


async def test_rows_that_could_not_all_be_written_leave_no_file(tmp_path: Path, database_url: str) -> None:
    async with parties(tmp_path) as nats_parties:
        operator = (await nats_parties.party(OPERATOR)).nats
        nowhere = ServiceSchemas(database_url.rsplit("/", 1)[0] + "/nowhere", {})
        folder = tmp_path / "rows"
        folder.mkdir()
        with pytest.raises(Unavailable):
            await write_rows(operator, nowhere, [Conversations], {}, folder / "rows.jsonl")
        assert list(folder.iterdir()) == []
