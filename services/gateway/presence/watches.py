"""Presence events: a client receives those about the people whom its session last asked about.

However many friends of a user come and go, a client gets an event only for these, at most MOST_WATCHED of them.
"""

from collections.abc import Callable, Collection, Mapping

import msgspec

from contracts.notification_kinds import PRESENCE, LivePresence
from contracts.values.timestamps import Rfc3339
from services.gateway.live.client_queue import ClientQueue
from services.gateway.observability.presence_metrics import PresenceMetrics

MOST_WATCHED = 100


class PresenceWatches:
    """The clients of this gateway, and the last state of each person that was sent to each."""

    def __init__(
        self,
        *,
        sees: Callable[[str, str], bool | None],
        is_online: Callable[[str], bool],
        last_seen_at: Callable[[str], Rfc3339 | None],
        metrics: PresenceMetrics,
    ) -> None:
        """`sees`: whether a user (the first) may see another one's presence; None if that is not known yet."""
        self._sees = sees
        self._is_online = is_online
        self._last_seen_at = last_seen_at
        self._metrics = metrics
        self._clients: dict[str, list[ClientQueue]] = {}
        # By client: the people it asked about, in the order in which it did, and whether the last thing it received
        # is that they are online.
        self._last_sent: dict[ClientQueue, dict[str, bool]] = {}
        # Clients that lagged when there was something to send.
        self._behind: set[ClientQueue] = set()

    def connect(self, client: ClientQueue) -> bool:
        """Adds a client; returns whether it is the user's first."""
        clients = self._clients.setdefault(client.user_id, [])
        clients.append(client)
        return len(clients) == 1

    def disconnect(self, client: ClientQueue) -> bool:
        """Removes a client; returns whether it was the user's last."""
        self._last_sent.pop(client, None)
        self._behind.discard(client)
        clients = self._clients[client.user_id]
        clients.remove(client)
        if clients:
            return False
        del self._clients[client.user_id]
        return True

    def is_connected(self, user_id: str) -> bool:
        return user_id in self._clients

    def watch(self, user_id: str, session_id: str, answered: Mapping[str, bool]) -> None:
        """The session's clients here get events about these people. `answered`: what they have just received."""
        for client in self._clients.get(user_id, ()):
            if client.session_id != session_id:
                continue
            last_sent = self._last_sent.setdefault(client, {})
            for person, online in answered.items():
                # The last in the order.
                last_sent[person] = last_sent.pop(person, online)
            for person in list(last_sent)[: max(0, len(last_sent) - MOST_WATCHED)]:
                del last_sent[person]
            self.catch_up(client)

    def drop(self, user_id: str, person: str) -> None:
        """The user's clients get no more events about the person."""
        for client in self._clients.get(user_id, ()):
            self._last_sent.get(client, {}).pop(person, None)

    def changed(self, person: str, watchers: Collection[str]) -> None:
        """Sends the person's state to the watchers' clients that asked about the person, if it is new to them."""
        for user_id in watchers:
            for client in self._clients.get(user_id, ()):
                last_sent = self._last_sent.get(client)
                if last_sent is not None and person in last_sent:
                    self._send_if_new(client, last_sent, person)

    def changed_for(self, user_id: str) -> None:
        """Sends the user's clients what is new after a change of the people whom the user sees."""
        for client in self._clients.get(user_id, ()):
            self.catch_up(client)

    def catch_up(self, client: ClientQueue) -> None:
        """Sends a client everything that is new to it."""
        last_sent = self._last_sent.get(client)
        if last_sent is not None and client.attached:
            self._behind.discard(client)
            for person in list(last_sent):
                self._send_if_new(client, last_sent, person)

    def catch_up_all(self) -> None:
        """Sends the clients that lagged what is new to them."""
        for client in list(self._behind):
            self.catch_up(client)

    def _send_if_new(self, client: ClientQueue, last_sent: dict[str, bool], person: str) -> None:
        sees = self._sees(client.user_id, person)
        online = bool(sees) and self._is_online(person)
        if sees is None or last_sent[person] == online or not client.attached:
            return
        last_seen_at = self._last_seen_at(person) if sees and not online else None
        event = LivePresence(person, online, msgspec.UNSET if last_seen_at is None else last_seen_at)
        if client.offer(PRESENCE, msgspec.json.encode(event)):
            last_sent[person] = online
            self._metrics.events.inc()
        else:
            self._behind.add(client)
