"""Which users are online, and at which gateways: online are those who are at one of them at least."""

from collections import Counter
from collections.abc import Collection, Iterable, Set
from sys import intern


class OnlineUsers:
    """Each change returns the users for whom it makes a difference: who is online at another gateway stays online."""

    def __init__(self) -> None:
        self._at: dict[str, set[str]] = {}
        # How many gateways each user is at.
        self._gateway_counts: Counter[str] = Counter()

    def __contains__(self, user_id: object) -> bool:
        return user_id in self._gateway_counts

    def __len__(self) -> int:
        return len(self._gateway_counts)

    def at(self, gateway: str) -> Set[str]:
        """The users who are online at the gateway."""
        return self._at.get(gateway, frozenset())

    def add(self, gateway: str, user_ids: Iterable[str]) -> list[str]:
        """Returns those of the users who were online nowhere before."""
        here = self._at.setdefault(gateway, set())
        came = []
        for user_id in map(intern, user_ids):
            if user_id in here:
                continue
            here.add(user_id)
            self._gateway_counts[user_id] += 1
            if self._gateway_counts[user_id] == 1:
                came.append(user_id)
        return came

    def remove(self, gateway: str, user_ids: Iterable[str]) -> list[str]:
        """Returns those of the users who are online nowhere now."""
        here = self._at.get(gateway, set())
        gone = []
        for user_id in user_ids:
            if user_id not in here:
                continue
            here.remove(user_id)
            self._gateway_counts[user_id] -= 1
            if not self._gateway_counts[user_id]:
                del self._gateway_counts[user_id]
                gone.append(user_id)
        return gone

    def replace(self, gateway: str, user_ids: Collection[str]) -> tuple[list[str], list[str]]:
        """Sets the gateway's users; returns who came and who is gone, as `add` and `remove` do."""
        present = self.at(gateway)
        gone = self.remove(gateway, present - set(user_ids))
        return self.add(gateway, user_ids), gone

    def forget(self, gateway: str) -> list[str]:
        """Removes a gateway; returns those of its users who are online nowhere now."""
        gone = self.remove(gateway, list(self.at(gateway)))
        self._at.pop(gateway, None)
        return gone
