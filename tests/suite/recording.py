"""Pytest plug-in of `./just test`: writes the outcome of each test to a file, or runs one recorded test alone."""

import textwrap
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from tests.suite.contained import say
from tests.suite.scheduling import Scheduling

NAME = "tests.suite.recording"
Outcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed"]
_LINES_SHOWN = 25


class Record(msgspec.Struct):
    """The outcomes of the tests of one pytest run, by node id."""

    outcomes: dict[str, Outcome] = {}
    # The first failure of each test that failed, as pytest shows it.
    failures: dict[str, str] = {}
    # False if --exitfirst or --maxfail may leave tests that never ran.
    whole: bool = True


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("suite", "options of ./just test itself")
    group.addoption("--record", metavar="FILE", help="write what became of each test to FILE")
    group.addoption("--alone", metavar="TEST", help="run this one test, whatever else is named")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # the controller sees every report of its workers
    if test := config.getoption("--alone"):
        config.args = [str(config.rootpath / test)]
    if file := config.getoption("--record"):
        config.pluginmanager.register(_Recorder(Path(file), whole=not config.getoption("maxfail")))


@pytest.hookimpl(optionalhook=True)  # where pytest-xdist is switched off
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling | None:
    return Scheduling(config, log) if config.getoption("dist") == "loadscope" else None


class _Recorder:
    def __init__(self, file: Path, *, whole: bool) -> None:
        self._file = file
        self._record = Record(whole=whole)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid
        expected = hasattr(report, "wasxfail")
        if report.failed:  # in setup and teardown too, and when a worker crashed
            self._record.outcomes[test] = "failed"
            self._record.failures.setdefault(test, report.longreprtext)
            # Immediately: pytest shows failures at its end, which a run that is cut off does not reach.
            say(f"\nFAILED in its {report.when}: {test}\n{excerpt(report.longreprtext)}")
        elif report.skipped:
            self._record.outcomes.setdefault(test, "xfailed" if expected else "skipped")
        elif report.when == "call":
            self._record.outcomes.setdefault(test, "xpassed" if expected else "passed")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._file.write_bytes(msgspec.json.encode(self._record))


def excerpt(failure: str) -> str:
    """The end of a failure as pytest shows it, indented."""
    return textwrap.indent("\n".join(failure.splitlines()[-_LINES_SHOWN:]), "    ")
