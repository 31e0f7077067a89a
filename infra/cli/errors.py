"""The errors that the operator can fix: printed as one line, without a stack trace."""

from contracts.errors import VestnikError
from infra.operator_errors import OperatorError
from projections.registry import UnknownProjection
from streams.reader import StreamWentBack
from streams.topology import DangerousStream, StreamForbidden, StreamMissing

MENDABLE: tuple[type[Exception], ...] = (
    OperatorError,
    VestnikError,
    UnknownProjection,
    DangerousStream,
    StreamWentBack,
    StreamForbidden,
    StreamMissing,
)
