"""The projections that a command names."""

from collections.abc import Collection

import click

from contracts.services import SERVICES
from projections.engine.projection import Projection
from projections.engine.storage.dead_letters import LetterId
from projections.registry import UnknownProjection, choose


def chosen(names: tuple[str, ...], services: Collection[str] = SERVICES) -> list[type[Projection]]:
    """The named projections, or all of the services.

    Raises:
        click.ClickException: there is no such projection.
    """
    try:
        return choose(names, services)
    except UnknownProjection as error:
        raise click.ClickException(str(error)) from error


def projection_of(letter_id: LetterId) -> type[Projection]:
    """The projection of a dead letter.

    Raises:
        click.ClickException: as `chosen`.
    """
    (projection,) = chosen((letter_id.projection,))
    return projection
