"""The projection of a dead letter."""

from projections.engine.projection import Projection
from projections.engine.storage.dead_letters import LetterId
from projections.registry import choose


def projection_of(letter_id: LetterId) -> type[Projection]:
    """
    Raises:
        UnknownProjection: there is no such projection.
    """
    (projection,) = choose((letter_id.projection,))
    return projection
