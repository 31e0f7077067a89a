"""Whatever two people do at the same time on four devices, all see one conversation: the one that its events tell.

Each device works off its own commands while it follows the live events over either gateway, and is away now and then.
The model is a fold of the conversation's events in the order of the stream. At the end the gateways are killed, and
with them what they remember, the read model is rebuilt, and all read models are compared with the streams.
"""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.people import Api, Json, Person, eventually
from tests.fix_system import wait_until
from tests.sse_client import Event, Stream, connect

EMOJIS = ("👍", "❤️", None)
# What a device does, to which message (the one so many before the last), and a text or an emoji.
Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "reply", "edit", "edit", "delete", "react", "see", "away"]),
        st.integers(0, 5),
        st.integers(0, 2),
    ),
    min_size=3,
    max_size=9,
)


class ShownMessage(msgspec.Struct):
    """A message as one of the two users sees it."""

    sender_id: str
    text: str
    edited: bool = False
    deleted: bool = False
    reply_to: int | None = None
    reactions: dict[str, str] = {}


Conversation = dict[int, ShownMessage]


def conversation_of(events: Sequence[Json]) -> Conversation:
    """The model: what the conversation's events say, in their order."""
    conversation: Conversation = {}
    for event in events:
        data = event["data"]
        if event["type"] == "message.sent":
            reply_to = (data.get("reply_to") or {}).get("sequence")
            conversation[data["sequence"]] = ShownMessage(data["sender_id"], data["text"], reply_to=reply_to)
            continue
        message = conversation[data["sequence"]]
        assert not message.deleted, "something happened to a deleted message"
        if event["type"] == "message.edited":
            message.text, message.edited = data["text"], True
        elif event["type"] == "message.deleted":
            message.text, message.edited, message.deleted, message.reactions = "", False, True, {}
        elif event["type"] == "reaction.changed":
            message.reactions.pop(data["user_id"], None)
            if data.get("emoji"):
                message.reactions[data["user_id"]] = data["emoji"]
    return conversation


def page(items: Sequence[Json], model: Conversation) -> Conversation:
    """What a page shows; checks the quotes, which have the text of the message that they quote."""
    for item in items:
        if quote := item.get("reply_to"):
            quoted = model[quote["sequence"]]
            assert (quote["text"], quote.get("deleted", False)) == (quoted.text, quoted.deleted)
    return {
        item["sequence"]: ShownMessage(
            item["sender_id"],
            item["text"],
            "edited_at" in item,
            item.get("deleted", False),
            item["reply_to"]["sequence"] if "reply_to" in item else None,
            {user: reaction["emoji"] for reaction in item.get("reactions", ()) for user in reaction["user_ids"]},
        )
        for item in items
    }


class Device:
    """A client: its view follows from the live events alone, over however many connections."""

    def __init__(self, api: Api, person: Person, other: Person, since: str) -> None:
        self._api, self._person, self._other = api, person, other
        self.view: Conversation = {}
        self.id = since
        self._stream: Stream | None = None
        self._reading: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        if self._stream is None:
            self._stream = await connect(self._api.system.url, self._person.access_token, last_event_id=self.id)
            self._reading = asyncio.create_task(self._read(self._stream))

    async def leave(self) -> None:
        if self._stream is not None and self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
            self._stream.close()
            self._stream = None
            self.check()

    def check(self) -> None:
        """Fails if reading has failed."""
        if self._reading is not None and self._reading.done() and not self._reading.cancelled():
            self._reading.result()

    async def sees(self, model: Conversation) -> None:
        async def caught_up() -> bool:
            self.check()
            return self.view == model

        try:
            await eventually(caught_up, "the device sees what the events say")
        except AssertionError:
            assert self.view == model
            raise

    async def _read(self, stream: Stream) -> None:
        while await stream.read():
            for event in stream.events:
                self._take(event)
            stream.events.clear()
            self.id = stream.id

    def _take(self, event: Event) -> None:
        data = event.data
        if event.type in {"message.sent", "message.edited", "message.deleted"}:
            assert data["user_id"] == self._other.user_id
            before = self.view.get(data["sequence"])
            assert (before is None) == (event.type == "message.sent"), "a message came twice, or a change before it"
            if quote := data.get("reply_to"):
                quoted = self.view[quote["sequence"]]
                assert not quoted.deleted or not quote.get("text"), "the text of a deleted message is quoted"
            reply_to = before.reply_to if before is not None else data.get("reply_to", {}).get("sequence")
            self.view[data["sequence"]] = ShownMessage(
                data["sender_id"],
                data["text"],
                "edited_at" in data,
                data.get("deleted", False),
                reply_to,
                before.reactions if before is not None and "deleted" not in data else {},
            )
        elif event.type == "reaction.changed":
            message = self.view[data["sequence"]]
            message.reactions.pop(data["sender_id"], None)
            if data["emoji"] is not None and not message.deleted:
                message.reactions[data["sender_id"]] = data["emoji"]

    async def work(self, steps: Sequence[Step], known: list[tuple[str, str, int]]) -> None:
        """`known`: id, sender and sequence of each message that anybody has sent."""
        path = f"/v1/conversations/{self._other.user_id}"
        for number, (kind, back, choice) in enumerate(steps):
            message_id, sender_id, sequence = known[-1 - back % len(known)]
            own, one = sender_id == self._person.user_id, f"{path}/messages/{message_id}"
            if kind == "away":
                await self.leave()
            elif kind in {"send", "reply"}:
                body = {"text": f"{kind} {number}", "client_message_id": f"{id(self):x}-{number}"}
                body |= {"reply_to": message_id} if kind == "reply" else {}
                answer = await self._person.ask("POST", f"{path}/messages", json=body)
                assert answer.status_code == 201, answer.text
                sent = answer.json()
                known.append((sent["message_id"], sent["sender_id"], sent["sequence"]))
            elif kind == "edit":
                answer = await self._person.ask("PATCH", one, json={"text": f"edit {choice}"})
                assert answer.status_code in ({200, 409} if own else {403}), answer.text
            elif kind == "delete":
                answer = await self._person.ask("DELETE", one)
                assert answer.status_code == (204 if own else 403), answer.text
            elif kind == "react":
                emoji = EMOJIS[choice]
                answer = await (
                    self._person.ask("DELETE", f"{one}/reaction")
                    if emoji is None
                    else self._person.ask("PUT", f"{one}/reaction", json={"emoji": emoji})
                )
                assert answer.status_code in {204, 409}, answer.text
            else:
                assert (await self._person.sees(self._other, sequence)).status_code == 204
            if kind != "away":
                await self.follow()


async def events_of(api: Api, conversation_id: str) -> list[Json]:
    printed = await asyncio.to_thread(api.system.vestnik, "events", "--stream", "MESSAGING", "--json")
    assert printed.returncode == 0, printed.stderr
    events: list[Json] = [msgspec.json.decode(line) for line in printed.stdout.splitlines()]
    kinds = {"message.sent", "message.edited", "message.deleted", "reaction.changed"}
    return [
        event
        for event in events
        if event["type"] in kinds
        and conversation_id in (event["aggregate_id"], (event["data"] or {}).get("conversation_id"))
    ]


@pytest.mark.parametrize("fragile_system", [2], ids=["two-replicas"], indirect=True)
async def test_all_devices_of_two_people_see_what_the_events_say(fragile_api: Api) -> None:
    api, system = fragile_api, fragile_api.system
    done: list[tuple[tuple[Person, Person], Conversation, str]] = []

    async def play(stories: list[list[Step]]) -> None:
        anna, boris = await api.friends()
        begin = (await anna.get("/v1/conversations")).headers["Vestnik-Position"]
        [first] = await anna.sends(boris, "first")
        known = [(first["message_id"], first["sender_id"], first["sequence"])]
        people = ((anna, boris), (anna, boris), (boris, anna), (boris, anna))
        devices = [Device(api, person, other, begin if person is anna else "") for person, other in people]
        for device, (person, _) in zip(devices, people, strict=True):
            device.id = device.id or (await person.get("/v1/conversations")).headers["Vestnik-Position"]
            if person is boris:
                # It loads the list, and follows from there.
                device.view = page(await boris.messages(anna), {})
            await device.follow()
        try:
            await asyncio.gather(*(device.work(story, known) for device, story in zip(devices, stories, strict=True)))
            model = conversation_of(await events_of(api, first["conversation_id"]))
            assert [*model] == list(range(1, len(known) + 1))
            for person, other in ((anna, boris), (boris, anna)):
                assert page(await person.messages(other, after=0, limit=200), model) == model
            later = Device(api, anna, boris, begin)
            devices.append(later)
            for device in devices:
                await device.follow()
                await device.sees(model)
        finally:
            for device in devices:
                await device.leave()
        done.append(((anna, boris), model, begin))

    loop = asyncio.get_running_loop()

    @settings(
        max_examples=5,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(STEPS, min_size=4, max_size=4))
    def check(stories: list[list[Step]]) -> None:
        asyncio.run_coroutine_threadsafe(play(stories), loop).result()

    await asyncio.to_thread(check)
    killed = system.serving("gateway")
    for process in killed:
        process.kill()

    def back() -> bool:
        return len(set(system.serving("gateway")) - set(killed)) == len(killed) and system.is_ready()

    await asyncio.to_thread(wait_until, back, "the gateways are back", within=120)
    rebuilt = await asyncio.to_thread(system.vestnik, "rebuild", "conversations", within=120)
    assert rebuilt.returncode == 0, rebuilt.stderr
    for (anna, boris), model, begin in done:
        for person, other in ((anna, boris), (boris, anna)):
            assert page(await person.messages(other, after=0, limit=200), model) == model
        device = Device(api, anna, boris, begin)
        await device.follow()
        try:
            await device.sees(model)
        finally:
            await device.leave()
    verified = await asyncio.to_thread(system.vestnik, "verify", within=300)
    assert verified.returncode == 0, verified.stdout + verified.stderr
