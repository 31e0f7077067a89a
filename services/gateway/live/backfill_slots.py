"""Limits the clients that hold a backfill page: a few of one user's; pages shrink while many clients hold one.

A page stays in memory until its client has read it, which may take minutes. A client without a slot waits, with
heartbeats and nothing in memory; it is not refused.
"""

from collections import Counter

from services.gateway.live.client_queue import ClientQueue

# Clients of one user that hold a page at the same time.
MOST_OF_ONE = 4
# Bytes of data in a page; the small size applies while more than MANY clients of the gateway hold one.
LARGE, SMALL = 512 * 1024, 64 * 1024
MANY = 64


class BackfillSlots:
    """The backfill slots of one gateway."""

    def __init__(self, *, most_of_one: int = MOST_OF_ONE, many: int = MANY) -> None:
        self._most_of_one = most_of_one
        self._many = many
        self._held: Counter[str] = Counter()
        self._holders: set[ClientQueue] = set()
        self._waiting: dict[str, set[ClientQueue]] = {}

    def __len__(self) -> int:
        """The clients that hold a page."""
        return len(self._holders)

    @property
    def page_bytes(self) -> int:
        return SMALL if len(self._holders) > self._many else LARGE

    def take(self, queue: ClientQueue) -> bool:
        """Whether the client has a slot now; if not, its queue is woken when one may be free."""
        if queue in self._holders:
            return True
        user_id = queue.user_id
        if self._held[user_id] >= self._most_of_one:
            self._waiting.setdefault(user_id, set()).add(queue)
            return False
        self._leave_queue(queue)
        self._held[user_id] += 1
        self._holders.add(queue)
        return True

    def give_back(self, queue: ClientQueue) -> None:
        """Frees the client's slot, and ends its wait for one."""
        self._leave_queue(queue)
        if queue not in self._holders:
            return
        self._holders.discard(queue)
        self._held[queue.user_id] -= 1
        if not self._held[queue.user_id]:
            del self._held[queue.user_id]
        for other in self._waiting.pop(queue.user_id, ()):
            other.wake()

    def _leave_queue(self, queue: ClientQueue) -> None:
        waiting = self._waiting.get(queue.user_id)
        if waiting is not None:
            waiting.discard(queue)
            if not waiting:
                del self._waiting[queue.user_id]
