"""Error of the scaffold: a projection cannot be created."""

from infra.operator_errors import OperatorError


class CannotMake(OperatorError):
    """The projection cannot be created as asked; nothing was written."""
