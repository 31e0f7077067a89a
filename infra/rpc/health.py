"""gRPC health check of a server; needs no credential."""

from grpclib import GRPCError
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from infra.rpc.tls import Tls
from infra.rpc.transport.channel import Channel


async def is_serving(host: str, port: int, *, timeout: float = 1.0, tls: Tls | None = None) -> bool:
    """Whether the server reports SERVING within `timeout` seconds."""
    return await said_serving(host, port, timeout=timeout, tls=tls) is True


async def said_serving(host: str, port: int, *, timeout: float = 1.0, tls: Tls | None = None) -> bool | None:
    """True: the server reports SERVING. False: it does not, or the call failed. None: no answer in time."""
    config = Configuration(ssl_target_name_override=tls.target if tls else None)
    channel = Channel(host, port, ssl=tls.context if tls else None, config=config)
    try:
        answer = await HealthStub(channel).Check(HealthCheckRequest(), timeout=timeout)
    except TimeoutError:  # before OSError, its base class
        return None
    except GRPCError as error:
        # The server knows the time limit, and may report its end before this side notices it.
        return None if error.status is Status.DEADLINE_EXCEEDED else False
    except Exception:
        # OSError, StreamTerminatedError, and what the libraries raise when a connection ends or an answer is malformed.
        # Whatever it is, the server did not say SERVING, and the caller asks again.
        return False
    finally:
        channel.close()
    return bool(answer.status == HealthCheckResponse.SERVING)
