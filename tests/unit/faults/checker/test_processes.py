from tests.faults.history import Fault, ProcessSample, ProcessState
from tests.unit.faults.made_up import findings

KILLED = Fault(name="kill", targets=["auth-1"], begun=10.0, ended=20.0)
READY = ProcessState(process="auth-1", at=5.0, state="ready")
ENDED = ProcessState(process="auth-1", at=11.0, state="ended", exit_code=-9, expected=True)


def restarted(at: float) -> ProcessState:
    return ProcessState(process="auth-1", at=at, state="ready")


def samples(resident: list[int], files: list[int]) -> list[ProcessSample]:
    return [
        ProcessSample(process="auth-1", pid=7, at=float(at), resident_bytes=memory * 2**20, open_files=count)
        for at, (memory, count) in enumerate(zip(resident, files, strict=True))
    ]


def test_a_process_that_was_killed_and_is_back_is_sound() -> None:
    assert findings(READY, ENDED, KILLED, restarted(30.0)) == []


def test_a_process_that_does_not_come_back_is_noticed() -> None:
    assert findings(READY, ENDED, KILLED) == ["processes.not_back"]


def test_a_process_that_comes_back_late_is_noticed() -> None:
    assert findings(READY, ENDED, KILLED, restarted(200.0)) == ["processes.not_back"]


def test_a_process_that_ends_by_itself_is_noticed() -> None:
    ended = ProcessState(process="auth-1", at=6.0, state="ended", exit_code=1)
    assert findings(READY, ended, restarted(8.0)) == ["processes.crashed"]


def test_a_process_that_fills_its_caches_first_is_sound() -> None:
    assert findings(*samples([60, 90, 200, 250, 260, 255, 260, 262, 261], [40] * 9)) == []


def test_memory_that_grows_to_the_end_is_noticed() -> None:
    assert findings(*samples([100, 100, 100, 100, 100, 100, 300, 320, 340], [40] * 9)) == ["processes.growing"]


def test_open_files_that_grow_to_the_end_are_noticed() -> None:
    assert findings(*samples([100] * 9, [40, 40, 40, 60, 60, 60, 200, 210, 220])) == ["processes.growing"]
