from pathlib import Path

from tests.faults.clients.gateways import Gateways, Target
from tests.faults.recording import Recorder


async def test_activities_have_records_and_connections_of_their_own_to_the_same_targets(tmp_path: Path) -> None:
    one, other = Target("http://127.0.0.1:1"), Target("http://127.0.0.1:2")
    with Recorder(tmp_path) as recorder:
        gateways = Gateways([one, other], recorder)
        try:
            parts = [gateways.part(name) for name in ("a", "b", "c")]
            assert [[part.next()[0] for _ in range(3)] for part in parts] == [[one, other, one]] * 3
            assert len({id(part.next()[1]) for part in parts}) == 3
            assert [part.recorder.path.stem for part in parts] == ["a", "b", "c"]
            assert all(part.visitors is recorder for part in parts)
        finally:
            await gateways.close()
