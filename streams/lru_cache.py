"""A bounded LRU cache: in number of values, or in their weight."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """LRU cache of `capacity`: above it, the least recently used values are evicted."""

    def __init__(
        self,
        capacity: int,
        *,
        weigh: Callable[[V], int] | None = None,
        on_evict: Callable[[K, V], None] | None = None,
    ) -> None:
        """
        `weigh`: the part of the capacity that a value takes; 1 without it. Discard a value before its weight changes.
        `on_evict`: called after a value was evicted; not for one that was replaced or discarded.
        """
        self._capacity = capacity
        self._weigh = weigh
        self._on_evict = on_evict
        self._values: OrderedDict[K, V] = OrderedDict()
        self._weight = 0

    @property
    def weight(self) -> int:
        """The weight of all values."""
        return len(self._values) if self._weigh is None else self._weight

    def get(self, key: K) -> V | None:
        """The value, which is now the most recently used one."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def peek(self, key: K) -> V | None:
        """The value; this does not count as a use."""
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Stores or replaces the value, which is now the most recently used one."""
        if self._weigh is not None:
            before = self._values.get(key)
            self._weight += self._weigh(value) - (0 if before is None else self._weigh(before))
        self._values[key] = value
        self._values.move_to_end(key)
        while self.weight > self._capacity:
            self._evict()

    def discard(self, key: K) -> V | None:
        """Removes and returns the value, if there is one."""
        value = self._values.pop(key, None)
        if value is not None and self._weigh is not None:
            self._weight -= self._weigh(value)
        return value

    def discard_if(self, condition: Callable[[V], bool]) -> None:
        """Removes the values for which the condition holds."""
        for key in [key for key, value in self._values.items() if condition(value)]:
            self.discard(key)

    def values(self) -> list[V]:
        """All values, the least recently used one first; reading them counts as no use."""
        return list(self._values.values())

    def clear(self) -> None:
        self._values.clear()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def _evict(self) -> None:
        key, value = self._values.popitem(last=False)
        if self._weigh is not None:
            self._weight -= self._weigh(value)
        if self._on_evict is not None:
            self._on_evict(key, value)
