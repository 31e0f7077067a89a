"""Events with personal data in plain form are counted, by stream, type and month, and nothing of them is shown."""

import asyncio
import json
from datetime import UTC, datetime

from click.testing import CliRunner, Result

from contracts import subjects
from contracts.envelope import Provenance, seal
from contracts.events.message import MessageSent
from contracts.events.profile import ProfileUpdated
from contracts.events.session import SessionRevoked
from contracts.events.user import UserCreated
from contracts.personal_data.key_ids import person_key
from contracts.subjects import DATA_KEYS
from contracts.values.ids import new_id
from infra.cli.main import cli
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import TOPOLOGY, Secrets
from infra.settings import Settings
from streams.log import Append
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.sealer import Sealer
from streams.topology import ensure_bucket
from tests.integration.archive.conftest import Deployment
from tests.integration.recorded_keys import Recorded

NOVEMBER, DECEMBER = datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


async def sealer_of(deployment: Deployment) -> Sealer:
    await ensure_bucket((await deployment.nats_parties.party(TOPOLOGY)).nats, DATA_KEYS, replicas=1)
    store = KeyStore((await deployment.nats_parties.party("auth")).nats)
    master_keys = Secrets.load(deployment.folder / "secrets").personal_data_keys(KeyTerms.of(Settings()))
    return Sealer(DataKeys(store, master_keys), KeyCreation(store, master_keys, Recorded()).create)


async def plain(deployment: Deployment, *arguments: str) -> Result:
    settings = deployment.settings
    environment = {
        "VESTNIK_DATA_DIR": str(settings.data_dir),
        "VESTNIK_SECRETS_DIR": settings.secrets_dir,
        "VESTNIK_NATS_URL": settings.nats_url,
    }
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["personal-data", "plain", *arguments], env=environment)
    assert done.exit_code == 0, done.output
    return done


async def send(deployment: Deployment, sender: str, texts: dict[str, datetime]) -> None:
    conversation_id, log, expected = new_id(), await deployment.log_of(subjects.MESSAGING), 0
    for sequence, (text, at) in enumerate(texts.items(), start=1):
        sent = MessageSent(
            message_id=new_id(),
            sender_id=sender,
            recipient_id=new_id(),
            sequence=sequence,
            text=text,
            client_message_id=new_id(),
        )
        envelope = seal(sent, aggregate_id=conversation_id, version=sequence, provenance=Provenance(), at=at)
        append = Append(subject=subjects.conversation(conversation_id), expected=expected, envelope=envelope)
        expected = await log.append(append)


async def test_plain_events_are_counted_by_month_and_person_and_sealed_ones_are_not(source: Deployment) -> None:
    anna, boris, sealed = new_id(), new_id(), new_id()
    await source.append(subjects.user(anna), UserCreated(username="anna", display_name="Anna Secret"))
    await send(source, anna, {"one": NOVEMBER, "two": DECEMBER, "three": DECEMBER})
    await send(source, boris, {"four": DECEMBER})
    sealing = await sealer_of(source)
    [hidden] = await sealing.seal([UserCreated(username="carla")], aggregate_id=sealed, at=DECEMBER)
    await source.append(subjects.user(sealed), hidden)
    # Nothing personal, an erased text, and bytes that are no event.
    await source.append(subjects.session(new_id()), SessionRevoked(user_id=anna, reason="logout"))
    await source.append(subjects.profile(anna), ProfileUpdated(display_name="", bio=""))
    messaging = (await source.nats_parties.party("messaging")).nats
    await messaging.request(subjects.notifications("n"), b"no event of ours")

    report = json.loads((await plain(source, "--json")).stdout)
    rows = {(row["stream"], row["type"], row["month"]): (row["events"], row["persons"]) for row in report["months"]}
    [created] = [key for key in rows if key[1] == "user.created"]
    assert rows.pop(created) == (1, 1)
    assert rows == {
        ("MESSAGING", "message.sent", "2026-11"): (1, 1),
        ("MESSAGING", "message.sent", "2026-12"): (3, 2),
    }
    assert (report["events"], report["persons"], report["unreadable"], report["read"]) == (5, 2, 1, 9)

    shown = (await plain(source)).stdout
    assert "5 of 9 events have personal data in plain form, of 2 persons" in shown
    assert "not readable by this release, so that nothing is known of them: 1" in shown
    assert not any(secret in shown for secret in ("anna", "Anna Secret", anna, "three"))

    only = json.loads((await plain(source, "--stream", "auth", "--json")).stdout)
    assert (only["events"], [row["stream"] for row in only["months"]]) == (1, ["AUTH"])


async def test_an_event_with_plain_and_sealed_fields_counts_for_the_person_of_the_plain_one(source: Deployment) -> None:
    user_id = new_id()
    sealing = await sealer_of(source)
    event = UserCreated(username="anna", display_name="Anna")
    [sealed] = await sealing.seal([UserCreated(username="anna")], aggregate_id=user_id, at=DECEMBER)
    assert getattr(sealed.username, "key", None) == person_key(user_id)
    await source.append(subjects.user(user_id), UserCreated(username=sealed.username, display_name=event.display_name))
    report = json.loads((await plain(source, "--json")).stdout)
    assert (report["events"], report["persons"]) == (1, 1)
