"""What counts as a failed health check."""

from typing import Any

import pytest
from grpclib.encoding.proto import ProtoCodec
from grpclib.health.service import Health
from grpclib.server import Server

from infra.embedded.ports import reserve_ports
from infra.rpc.health import said_serving


class Garbling(ProtoCodec):
    """Sends messages that no codec can read."""

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ANN401 - as in the library
        return b"\xff"


@pytest.mark.parametrize(("codec", "serving"), [(ProtoCodec(), True), (Garbling(), False)])
async def test_an_answer_that_cannot_be_read_is_a_failure_and_no_error(codec: ProtoCodec, serving: bool) -> None:
    server = Server([Health()], codec=codec)
    (holder,) = reserve_ports(1)
    port = holder.getsockname()[1]
    await server.start("127.0.0.1", port, reuse_port=True)
    try:
        assert await said_serving("127.0.0.1", port, timeout=60) is serving
    finally:
        server.close()
        await server.wait_closed()
        holder.close()
