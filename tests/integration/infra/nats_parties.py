"""All NATS accounts of a server with permissions, each with its own connection that records refusals."""

import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from contracts import subjects
from contracts.services import OPERATOR
from contracts.subjects import AUTH, CONTACT, MESSAGING, STREAMS
from infra.embedded.nats_server import NatsServer
from infra.security.nats_permissions import inbox_of
from infra.security.secrets import NATS_PARTIES, TOPOLOGY, Secrets
from infra.settings import Settings
from streams.jetstream.client import Client
from streams.log import Log
from streams.reader import Reader
from streams.topology import ensure_streams

WITHIN = 60.0
# What no other service reads, by stream.
PRIVATE = {
    AUTH: [subjects.credential("u"), subjects.email_claim("k"), subjects.username_claim("k"), subjects.mail("u")],
    CONTACT: [subjects.report("r")],
}
OTHERS_THAN_TOPOLOGY = tuple(party for party in NATS_PARTIES if party != TOPOLOGY)
# Of the acts and looks of operators, which only operators read.
OPERATORS_ACT = subjects.operator_action("a")
# By stream, one subject of each kind.
EVENTS = {
    AUTH: [subjects.user("u"), *PRIVATE[AUTH]],
    subjects.SESSION: [subjects.session("s")],
    subjects.PROFILE: [subjects.profile("u")],
    CONTACT: [subjects.friendship("p"), *PRIVATE[CONTACT]],
    MESSAGING: [
        subjects.conversation("c"),
        subjects.message("m"),
        subjects.read_mark("c", "u"),
        subjects.settings("c", "u"),
        subjects.notifications("u"),
    ],
    subjects.OPERATOR: [subjects.dead_letter("friends", 1, CONTACT, 7), OPERATORS_ACT],
    subjects.NOTARY: [subjects.tree_head(AUTH)],
}


class Party:
    """The connection of one account."""

    def __init__(self, name: str, client: Client, refusals: Sequence[str]) -> None:
        self.name = name
        self.nats = client
        self._refusals = refusals

    async def settled(self) -> None:
        """Returns when the server has processed everything sent before; refusals arrive before its answer.

        The client's own `flush` would overtake data that still waits to be sent.
        """
        await self.nats.request("$JS.API.INFO", timeout=WITHIN)

    async def ask(self, subject: str, request: object = None) -> dict[str, object]:
        """Sends a request and returns the server's answer."""
        payload = b"" if request is None else json.dumps(request).encode()
        answer: dict[str, object] = json.loads((await self.nats.request(subject, payload, timeout=WITHIN)).data)
        return answer

    async def error_of(self, subject: str, request: object = None) -> int | None:
        """Sends a request; returns the error number in the server's answer, None if it succeeded."""
        error = (await self.ask(subject, request)).get("error")
        return int(error["err_code"]) if isinstance(error, dict) else None

    async def permitted_to_publish(self, subjects: Collection[str]) -> set[str]:
        """Publishes on each subject; returns the subjects that the server did not refuse."""
        known = len(self._refusals)
        for subject in subjects:
            await self.nats.publish(subject, b"{}", reply=self.nats.new_inbox())
        await self.settled()
        return self._not_refused("publish to", subjects, known)

    async def permitted_to_subscribe(self, subjects: Collection[str]) -> set[str]:
        """Subscribes to each subject; returns the subjects that the server did not refuse."""
        known = len(self._refusals)
        for subject in subjects:
            await self.nats.subscribe(subject)
        await self.settled()
        return self._not_refused("subscription to", subjects, known)

    def _not_refused(self, what: str, subjects: Collection[str], known: int) -> set[str]:
        refused = self._refusals[known:]
        return {
            subject
            for subject in subjects
            if not any(f'permissions violation for {what} "{subject.lower()}"' in refusal for refusal in refused)
        }


class Parties:
    """All accounts of a server, with their connections."""

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self._open: dict[str, Party] = {}

    async def party(self, name: str) -> Party:
        """The account's connection, opened on first use."""
        if name not in self._open:
            refusals: list[str] = []

            async def remember(error: Exception) -> None:
                refusals.append(str(error).lower())

            client = Client()
            await client.connect(
                self.server.url_of(name), name=name, error_cb=remember, inbox_prefix=inbox_of(name).encode()
            )
            self._open[name] = Party(name, client, refusals)
        return self._open[name]

    async def close(self) -> None:
        for party in self._open.values():
            await party.nats.close()


@asynccontextmanager
async def parties(folder: Path) -> AsyncIterator[Parties]:
    """A server with the permissions of a deployment, and with the streams created."""
    server = NatsServer(
        folder / "nats", passwords=Secrets.create(folder / "secrets").nats_passwords(), sync_always=False
    )
    await server.start()
    nats_parties = Parties(server)
    try:
        await ensure_streams((await nats_parties.party(TOPOLOGY)).nats, replicas=1)
        yield nats_parties
    finally:
        await nats_parties.close()
        await server.stop()


def settings_of(nats_parties: Parties, folder: Path) -> Settings:
    """An operator's settings for the server in the folder."""
    return Settings(nats_url=nats_parties.server.url_of(OPERATOR), secrets_dir=str(folder / "secrets"))


async def seen(party: Party, stream: str, subject_filter: str | None) -> list[str]:
    """Reads the stream to its end and returns the subjects."""
    seen_subjects: list[str] = []
    async with Reader(party.nats, stream, subject_filter=subject_filter, name="test") as reader:
        async for batch in reader.batches():
            seen_subjects += [message.subject for message in batch.messages]
            if batch.pending == 0 and seen_subjects:
                return seen_subjects
    raise AssertionError


async def append_everything(nats_parties: Parties) -> None:
    for stream, owner in STREAMS.items():
        party = await nats_parties.party(owner)
        for subject in EVENTS[stream]:
            assert (await party.ask(subject, {}))["stream"] == stream


async def ends(nats_parties: Parties) -> dict[str, int]:
    log = Log((await nats_parties.party(OPERATOR)).nats)
    return {stream: await log.end_of(stream) for stream in STREAMS}
