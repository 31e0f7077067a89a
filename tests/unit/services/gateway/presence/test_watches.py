"""A client receives the presence of the people that its session watches, however many friends its user has."""

import msgspec
from prometheus_client import CollectorRegistry

from contracts.notification_kinds import PRESENCE
from services.gateway.live.client_queue import MOST_BEFORE_EPHEMERAL, ClientQueue, QueuedEvent
from services.gateway.observability.presence_metrics import PresenceMetrics
from services.gateway.presence.watches import MOST_WATCHED, PresenceWatches

ME = "anna"
FRIENDS = [f"{number:032x}" for number in range(2_000)]


class Clients:
    """One user's clients, and who is online."""

    def __init__(self) -> None:
        self.online: set[str] = set()
        # Whether the user sees others' presence; None: not known yet.
        self.sees: bool | None = True
        self.watches = PresenceWatches(
            sees=lambda user_id, person: self.sees,
            is_online=lambda person: person in self.online,
            last_seen_at=lambda person: "2026-01-01T00:00:00.000Z",
            metrics=PresenceMetrics(CollectorRegistry()),
        )

    def client(self, session_id: str = "session", *, attached: bool = True) -> ClientQueue:
        client = ClientQueue(ME, session_id, notified=False, expires_at=0.0)
        client.attached = attached
        self.watches.connect(client)
        return client

    def set(self, person: str, online: bool) -> None:
        (self.online.add if online else self.online.discard)(person)
        self.watches.changed(person, [ME])


def drained(client: ClientQueue) -> list[tuple[str, bool]]:
    events = [event for event in client.drain() if event.type == PRESENCE]
    decoded = [msgspec.json.decode(event.data) for event in events]
    assert all(("last_seen_at" in event) != event["online"] for event in decoded)
    return [(event["user_id"], event["online"]) for event in decoded]


def test_two_thousand_friends_who_come_and_go_are_events_for_those_watched_alone() -> None:
    clients = Clients()
    watching, silent = clients.client(), clients.client("other")
    clients.watches.watch(ME, "session", dict.fromkeys(FRIENDS[:MOST_WATCHED], False))
    for online in (True, False):
        events = size = 0
        for friend in FRIENDS:
            clients.set(friend, online)
            for event in watching.drain():
                events += 1
                size += len(event.data)
        assert events == MOST_WATCHED
        assert size <= 120 * MOST_WATCHED
    assert len(silent) == 0


def test_of_more_people_than_a_client_may_watch_the_last_ones_count() -> None:
    clients = Clients()
    client = clients.client()
    clients.watches.watch(ME, "session", dict.fromkeys(FRIENDS[:MOST_WATCHED], False))
    # The first is watched once more, so the second is the one whose watch is oldest.
    clients.watches.watch(ME, "session", {FRIENDS[0]: False, FRIENDS[500]: False})
    for friend in FRIENDS[:600]:
        clients.set(friend, True)
    assert [friend for friend, _ in drained(client)] == [FRIENDS[0], *FRIENDS[2:MOST_WATCHED], FRIENDS[500]]


def test_changes_since_the_answer_are_sent_immediately_and_once() -> None:
    clients = Clients()
    client = clients.client()
    clients.online = {"b"}
    clients.watches.watch(ME, "session", {"a": True, "b": True, "c": False})
    assert drained(client) == [("a", False)]
    clients.set("b", True)
    clients.watches.changed_for(ME)
    assert drained(client) == []


def test_a_client_that_catches_up_or_lags_receives_the_latest_later() -> None:
    clients = Clients()
    client = clients.client(attached=False)
    clients.watches.watch(ME, "session", {"a": False, "b": False})
    clients.set("a", True)
    assert len(client) == 0
    client.attached = True
    clients.watches.catch_up(client)
    assert drained(client) == [("a", True)]
    for sequence in range(MOST_BEFORE_EPHEMERAL):
        client.put(QueuedEvent("MESSAGING", sequence, "message.sent", b"{}"))
    clients.set("a", False)
    clients.set("b", True)
    assert drained(client) == []
    clients.watches.catch_up_all()
    assert drained(client) == [("a", False), ("b", True)]


def test_nothing_is_sent_while_permissions_are_unknown() -> None:
    clients = Clients()
    client = clients.client()
    clients.sees = None
    clients.watches.watch(ME, "session", {"a": True})
    assert drained(client) == []
    clients.sees = True
    clients.watches.changed_for(ME)
    assert drained(client) == [("a", False)]


def test_a_user_who_no_longer_sees_a_person_is_not_shown_when_the_person_was_online() -> None:
    clients = Clients()
    client = clients.client()
    clients.online = {"a"}
    clients.watches.watch(ME, "session", {"a": True})
    clients.sees = False
    clients.watches.changed_for(ME)
    [event] = client.drain()
    assert msgspec.json.decode(event.data) == {"user_id": "a", "online": False}


def test_after_a_friendship_has_ended_no_client_of_the_user_gets_events_about_the_person() -> None:
    clients = Clients()
    one, other = clients.client(), clients.client("other")
    for session_id in ("session", "other"):
        clients.watches.watch(ME, session_id, {"a": False, "b": False})
    clients.client("never asked")
    clients.watches.drop(ME, "a")
    for person in ("a", "b"):
        clients.set(person, True)
    assert drained(one) == drained(other) == [("b", True)]


def test_a_client_that_has_gone_leaves_nothing_behind() -> None:
    clients = Clients()
    one, other = clients.client(), clients.client()
    clients.watches.watch(ME, "session", {"a": False})
    assert not clients.watches.disconnect(one)
    assert clients.watches.is_connected(ME)
    assert clients.watches.disconnect(other)
    assert not clients.watches.is_connected(ME)
    clients.set("a", True)
    assert len(one) == len(other) == 0
    assert not clients.watches._last_sent
