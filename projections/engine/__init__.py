"""The machinery behind every read model: authors write Projections, services start Runners and ask ReadModels."""

from projections.engine.projection import Projection, handles
from projections.engine.read_model import ReadModel
from projections.engine.runners import Runners
from projections.engine.waiting import PositionWaiter
from projections.engine.write import RowChanges

__all__ = ["PositionWaiter", "Projection", "ReadModel", "RowChanges", "Runners", "handles"]
