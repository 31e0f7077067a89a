"""Asking a gRPC server whether it serves; needs no credential."""

from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse


async def is_serving(host: str, port: int, *, timeout: float = 1.0) -> bool:
    """Whether the server answers that it is ready, within `timeout` seconds."""
    channel = Channel(host, port)
    try:
        answer = await HealthStub(channel).Check(HealthCheckRequest(), timeout=timeout)
    except (OSError, TimeoutError, GRPCError, StreamTerminatedError):
        return False
    finally:
        channel.close()
    return bool(answer.status == HealthCheckResponse.SERVING)
