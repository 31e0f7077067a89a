"""`./just test` on small suites: its retries, its output and its exit code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.suite.nested_run import ENVIRONMENT, INI
from tests.suite.scheduling import next_unit, unit_of

WITHIN = 400.0
AGAIN = "again, alone"
# `first(name)` is true once in each suite.
HEADER = """
import os, pathlib, pytest

def first(name):
    try:
        pathlib.Path(name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
"""
GOOD = "\ndef test_good(): pass\n"


def flaky(number: int) -> str:
    return f"\ndef test_flaky_{number}(): assert not first('flaky-{number}')\n"


def run(folder: Path, tests: str, *arguments: str) -> tuple[int, str, str]:
    """Runs the suite that consists of these tests: the exit code, the output and its last line."""
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_small.py").write_text(HEADER + tests)
    done = subprocess.run(
        [sys.executable, "-m", "tests.suite", "-n", "2", *arguments],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    return done.returncode, done.stdout, done.stdout.rstrip().rpartition("\n")[2]


def test_the_tests_of_a_module_run_in_one_worker(tmp_path: Path) -> None:
    module = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(6))
def test_worker(number):
    with pathlib.Path(__file__).with_suffix(".workers").open("a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""
    for number in range(2):
        (tmp_path / f"test_module_{number}.py").write_text(module)
    code, output, _ = run(tmp_path, GOOD)
    assert code == 0, output
    workers = [(tmp_path / f"test_module_{number}.workers").read_text().split() for number in range(2)]
    assert [len(lines) for lines in workers] == [6, 6]
    assert [len(set(lines)) for lines in workers] == [1, 1]


@pytest.mark.parametrize(
    ("test", "unit"),
    [
        ("tests/browser/test_forms.py::test_a[en-1]", "tests/browser/"),
        ("tests/e2e/test_users.py::test_a[one-replica-name]", "one-replica"),
        ("tests/conformance/test_rest_contract.py::test_b[two-replicas]", "two-replicas"),
        ("tests/e2e/test_durability.py::test_d[own-system]", "own-system"),
        ("tests/e2e/test_users.py::test_c", "tests/e2e/test_users.py"),
        ("tests/unit/test_x.py::test_about_two-replicas[word]", "tests/unit/test_x.py"),
        ("tests/unit/test_x.py::TestClass::test_in_it[a::b\n]", "tests/unit/test_x.py"),
    ],
)
def test_tests_that_share_a_system_are_one_unit(test: str, unit: str) -> None:
    assert unit_of(test) == unit


def test_two_units_keep_the_processors_busy_while_another_worker_runs_what_waits() -> None:
    waits = ["tests/integration/test_a.py", "tests/unit/test_b.py"]
    queue = ["tests/browser/", waits[0], "one-replica", "two-replicas", waits[1]]
    order: list[str] = []
    running: list[str] = []
    # Three workers; the unit that was begun first ends first.
    while queue:
        running = running[-2:]
        unit = next_unit(queue, running)
        queue.remove(unit)
        order.append(unit)
        running.append(unit)
    assert order == ["tests/browser/", "one-replica", waits[0], "two-replicas", waits[1]]
    assert next_unit(["own-system"], ["one-replica", "two-replicas"]) == "own-system"


def test_what_passes_alone_is_flaky_whichever_way_it_failed(tmp_path: Path) -> None:
    tests = """
    def test_crash():
        if first("crash"):
            os._exit(1)

    @pytest.fixture(params=["a@b"])
    def broken(request):
        assert not first("setup"), "first time in setup"

    def test_setup(broken): pass

    @pytest.fixture
    def torn():
        yield
        assert not first("teardown")

    def test_teardown(torn): pass

    def test_skipped(): pytest.skip("never")
    """
    code, output, last = run(tmp_path, GOOD + "\n".join(line[4:] for line in tests.splitlines()))
    assert re.fullmatch(r"=+ 4 passed, 1 skipped, 3 flaky in [\d.]+s =+", last), output
    assert code == 0
    for test in ("test_crash", "test_setup[a@b]", "test_teardown"):
        assert f"flaky: test_small.py::{test} passed alone. Its first failure:" in output
    assert "first time in setup" in output.partition("flaky: ")[2]
    assert output.count(AGAIN) == 3


def test_a_failure_is_shown_when_it_happens(tmp_path: Path) -> None:
    tests = f"\ndef test_bad(): assert False, 'at once'\n{GOOD}"
    _, output, _ = run(tmp_path, tests)
    before_the_summary = output.partition("FAILURES ==")[0]
    assert "FAILED in its call: test_small.py::test_bad" in before_the_summary
    assert "at once" in before_the_summary


def test_what_fails_again_fails_the_run(tmp_path: Path) -> None:
    code, output, last = run(tmp_path, GOOD + flaky(1) + "\ndef test_bad(): assert False\n")
    assert re.fullmatch(r"=+ 1 failed, 2 passed, 1 flaky in [\d.]+s =+", last), output
    assert code == 1
    assert "FAILED test_small.py::test_bad" in output


def test_what_is_skipped_when_it_runs_again_has_not_passed(tmp_path: Path) -> None:
    tests = "\ndef test_bad():\n    assert not first('bad')\n    pytest.skip('no longer')\n"
    code, output, last = run(tmp_path, GOOD + tests)
    assert "1 failed, 1 passed" in last, output
    assert code == 1


def test_four_flaky_tests_fail_the_run(tmp_path: Path) -> None:
    code, output, last = run(tmp_path, "".join(flaky(number) for number in range(4)))
    assert "4 tests are flaky; the run passes with at most 3." in output
    assert "4 passed, 4 flaky" in last, output
    assert code == 1


def test_more_than_twenty_failures_are_not_run_again(tmp_path: Path) -> None:
    code, output, last = run(
        tmp_path, GOOD + '\n@pytest.mark.parametrize("n", range(21))\ndef test_bad(n): assert n < 0\n'
    )
    assert AGAIN not in output
    assert "21 failed, 1 passed" in last, output
    assert code == 1


def test_nothing_is_run_again_where_all_passed_or_pytest_did_not_come_to_the_end(tmp_path: Path) -> None:
    code, output, last = run(tmp_path, GOOD)
    assert (code, "1 passed" in last) == (0, True), output
    for tests, arguments, expected in (
        (GOOD, ("-k", "nothing"), pytest.ExitCode.NO_TESTS_COLLECTED),
        (GOOD, ("--no-such-option",), pytest.ExitCode.USAGE_ERROR),
        (GOOD + "\nimport no_such_module\n", (), pytest.ExitCode.TESTS_FAILED),
        (flaky(1) + GOOD, ("--exitfirst", "-n", "0"), pytest.ExitCode.TESTS_FAILED),
        (GOOD + "\ndef test_end(): raise KeyboardInterrupt\n", ("-n", "0"), pytest.ExitCode.INTERRUPTED),
    ):
        code, output, _ = run(tmp_path, tests, *arguments)
        assert code == expected, output
        assert AGAIN not in output


def test_arguments_select_tests_in_both_runs(tmp_path: Path) -> None:
    code, output, last = run(tmp_path, GOOD + flaky(1) + flaky(2), "test_small.py", "-k", "flaky_1", "-q")
    assert re.search(r" 1 passed, 1 flaky in ", last), output
    assert code == 0
