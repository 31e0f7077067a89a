"""Connections of the real NATS client to the simulated server."""

from streams.jetstream.client import Client
from tests.simulation.nats.server import HOST, PORT


async def connect(name: str) -> Client:
    """A connection that reconnects for as long as the run lasts; its errors are not reported."""

    async def ignore(_: Exception) -> None:
        return None

    client = Client()
    await client.connect(
        f"nats://{HOST}:{PORT}",
        name=name,
        reconnect_time_wait=0.05,  # type: ignore[arg-type]  # seconds that it sleeps; a fraction is meant
        max_reconnect_attempts=-1,
        connect_timeout=2,
        ping_interval=5,
        max_outstanding_pings=2,
        error_cb=ignore,
    )
    return client
