"""Who leads the streams: one server always, a replicated one not while its replicas choose another leader."""

from tests.simulation.virtual_loop import VirtualLoop


class Leadership:
    def __init__(self, loop: VirtualLoop, replicas: int) -> None:
        self._loop = loop
        self.replicas = replicas
        self._vacant_until = 0.0

    def step_down(self, seconds: float) -> None:
        self._vacant_until = self._loop.now + seconds

    def is_vacant(self) -> bool:
        return self._loop.now < self._vacant_until

    def since(self) -> float:
        """Seconds since the last change of leader."""
        return self._loop.now - self._vacant_until
