"""The users who hide when they are online (`presence: nobody` in their profiles).

Asked of the profile service once for a user and kept current by the events of PROFILE, which every gateway follows.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

from streams.lru_cache import LruCache

_MOST = 200_000
# Users in one request; the service accepts 1,000.
_AT_ONCE = 500

# Returns those of the users who hide, once the read model has reached a sequence of PROFILE.
FindHidden = Callable[[Sequence[str], int], Awaitable[Collection[str]]]


class HiddenUsers:
    def __init__(self, find: FindHidden, followed: Callable[[], int], *, most: int = _MOST) -> None:
        """`followed`: the sequence of PROFILE up to which `changed` has been called."""
        self._find = find
        self._followed = followed
        self._known: LruCache[str, bool] = LruCache(most)
        # Of each request under way: changes that came meanwhile, which are newer than its answer.
        self._meanwhile: list[dict[str, bool]] = []

    def known(self, user_id: str) -> bool | None:
        """Whether the user hides; None if that is not known here."""
        return self._known.peek(user_id)

    def changed(self, user_id: str, hidden: bool) -> None:
        """Applies an event of PROFILE."""
        for changes in self._meanwhile:
            changes[user_id] = hidden
        if hidden or self._known.peek(user_id) is not None:
            self._known.put(user_id, hidden)

    async def among(self, user_ids: Collection[str]) -> set[str]:
        """Returns which of the users hide.

        Raises:
            VestnikError: it is not known here, and the profile service does not answer.
        """
        hidden_by_user = {user_id: self._known.get(user_id) for user_id in user_ids}
        unknown = [user_id for user_id, hidden in hidden_by_user.items() if hidden is None]
        for begin in range(0, len(unknown), _AT_ONCE):
            hidden_by_user |= await self._load(unknown[begin : begin + _AT_ONCE])
        return {user_id for user_id, hidden in hidden_by_user.items() if hidden}

    async def _load(self, user_ids: Sequence[str]) -> dict[str, bool]:
        changes: dict[str, bool] = {}
        self._meanwhile.append(changes)
        try:
            hidden = set(await self._find(user_ids, self._followed()))
        finally:
            self._meanwhile = [other for other in self._meanwhile if other is not changes]
        states = {user_id: changes.get(user_id, user_id in hidden) for user_id in user_ids}
        for user_id, state in states.items():
            self._known.put(user_id, state)
        return states
