"""Events of the keys that seal a person's data: the key ring.

Aggregate: `data_keys` (private), one per user. The keys themselves are in no event.
"""

from typing import ClassVar

from contracts.events.event import Event
from contracts.values.personal_data import Personal


class DataKeysCreated(Event, frozen=True, kw_only=True):
    """Keys were made; none of them has sealed anything before. A key that is here and not in the store is lost."""

    TYPE: ClassVar[str] = "data_keys.created"
    PRIVATE: ClassVar[bool] = True
    key_ids: tuple[str, ...]


class DataKeysDestroyed(Event, frozen=True, kw_only=True):
    """Keys have to be destroyed, and none takes their place; a reaction destroys them in the store."""

    TYPE: ClassVar[str] = "data_keys.destroyed"
    PRIVATE: ClassVar[bool] = True
    # Empty: all keys of the person, now and in future.
    key_ids: tuple[str, ...] = ()
    # `erasure`, `retention`, `registration_ended`, `loss_accepted`
    reason: str


class DataKeysHoldPlaced(Event, frozen=True, kw_only=True):
    """A legal hold was placed on the person's data: no erasure and no retention destroys its keys."""

    TYPE: ClassVar[str] = "data_keys.hold_placed"
    PRIVATE: ClassVar[bool] = True
    reason: Personal[str]


class DataKeysHoldReleased(Event, frozen=True, kw_only=True):
    """The legal hold was released."""

    TYPE: ClassVar[str] = "data_keys.hold_released"
    PRIVATE: ClassVar[bool] = True


DATA_KEY_EVENTS = (DataKeysCreated, DataKeysDestroyed, DataKeysHoldPlaced, DataKeysHoldReleased)
