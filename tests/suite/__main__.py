"""What `./just test` runs: pytest with three workers, then every test that failed once more, alone.

A test that fails again fails the run. One that passes alone is flaky: it is shown with its first failure, and the run
passes with at most `MOST_FLAKY` of them.
"""

import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.suite import recording
from tests.suite.contained import Runner, say
from tests.suite.recording import Record

# Three for two processors, since tests often wait. In the order of the folders, but for tests/suite/scheduling.py: the
# unit tests come last and fill the gaps at the end.
WORKERS = ("-n", "3", "--dist", "loadscope", "--no-loadscope-reorder")
ALONE = ("-n", "0")
MOST_FLAKY = 3
# More failures than this are a broken change, and repeating them would only take time.
MOST_REPEATED = 20


class Suite:
    """One run of the tests; `arguments` go to pytest."""

    def __init__(self, runner: Runner, folder: Path, arguments: Sequence[str]) -> None:
        self._runner = runner
        self._folder = folder
        self._arguments = arguments

    def run(self) -> int:
        """Returns the exit code: pytest's own where there is nothing to repeat, otherwise 0 or 1."""
        started = time.monotonic()
        code, record = self._pytest(*WORKERS, *self._arguments)
        if code != pytest.ExitCode.TESTS_FAILED or record is None or not record.failures or not record.whole:
            return code
        flaky: list[str] = []
        if len(record.failures) > MOST_REPEATED:
            say(f"{len(record.failures)} tests failed: more than {MOST_REPEATED} are not run again.")
            failed = list(record.failures)
        else:
            failed, flaky = self._repeat(list(record.failures))
        if self._runner.stopped_by is not None:
            return 128 + self._runner.stopped_by
        for test in flaky:
            say(f"flaky: {test} passed alone. Its first failure:")
            say(recording.excerpt(record.failures[test]))
        for test in failed:
            say(f"FAILED {test}")
        too_many = len(flaky) > MOST_FLAKY
        if too_many:
            say(f"{len(flaky)} tests are flaky; the run passes with at most {MOST_FLAKY}.")
        say(closing_line(record, failed, flaky, time.monotonic() - started))
        return int(pytest.ExitCode.TESTS_FAILED if failed or too_many else pytest.ExitCode.OK)

    def _repeat(self, tests: Sequence[str]) -> tuple[list[str], list[str]]:
        """Runs each test alone; returns those that failed again and those that passed."""
        failed: list[str] = []
        flaky: list[str] = []
        for number, test in enumerate(tests, 1):
            say(rule(f"failed test {number} of {len(tests)} again, alone"))
            code, record = self._pytest("--alone", test, *self._arguments, *ALONE)
            outcome = record.outcomes.get(test) if record is not None else None
            passed = code == pytest.ExitCode.OK and outcome in ("passed", "xfailed")
            (flaky if passed else failed).append(test)
            if self._runner.stopped_by is not None:
                break
        return failed, flaky

    def _pytest(self, *arguments: str) -> tuple[int, Record | None]:
        """Returns the exit code and what was recorded: nothing where pytest did not come to its end."""
        file = self._folder / "record.json"
        file.unlink(missing_ok=True)
        plugin = ("-p", recording.NAME, "--record", str(file))
        code = self._runner.run([sys.executable, "-m", "pytest", *plugin, *arguments])
        return code, msgspec.json.decode(file.read_bytes(), type=Record) if file.exists() else None


def closing_line(record: Record, failed: Sequence[str], flaky: Sequence[str], seconds: float) -> str:
    """The summary line in pytest's form: tests that failed again count as failed, flaky ones as passed."""
    counts: Counter[str] = Counter(record.outcomes.values())
    counts["failed"] = len(failed)
    counts["passed"] += len(flaky)
    counts["flaky"] = len(flaky)
    order = ("failed", "passed", "skipped", "xfailed", "xpassed", "flaky")
    return rule(f"{', '.join(f'{counts[name]} {name}' for name in order if counts[name])} in {seconds:.2f}s")


def rule(text: str) -> str:
    return f" {text} ".center(shutil.get_terminal_size().columns, "=")


def main(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="suite-") as folder:
        return Suite(Runner(), Path(folder), arguments).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
