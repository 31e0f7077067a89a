"""What `vestnik verify --streams` refuses, and what it prints about faults."""

import pytest
from click.testing import CliRunner
from rich.console import Console

from contracts.subjects import MESSAGING
from infra.archive.event_check import Fault
from infra.archive.stream_verification import StreamVerdict
from infra.cli.projections import verify_streams
from infra.cli.projections.verify import verify
from infra.cli.projections.verify_streams import StreamVerdicts


def verdict(*named: Fault, faults: int) -> StreamVerdict:
    return StreamVerdict(
        stream=MESSAGING,
        sound=not faults,
        end=9,
        events=9,
        aggregates=2,
        lost_accepted=0,
        faults=faults,
        named=list(named),
        seconds=0.5,
        events_per_second=18.0,
    )


@pytest.mark.parametrize("arguments", [["friends", "--streams"], ["--stream", "AUTH", "--progress-json"]])
def test_a_check_of_streams_takes_no_read_model(arguments: list[str]) -> None:
    result = CliRunner().invoke(verify, arguments)
    assert (result.exit_code, "take neither" in result.output) == (2, True), result.output


def test_a_stream_that_does_not_exist_is_refused() -> None:
    assert CliRunner().invoke(verify, ["--stream", "CHATS"]).exit_code == 2


def test_the_first_faults_are_printed_with_the_runbook(capsys: pytest.CaptureFixture[str]) -> None:
    fault = Fault(MESSAGING, 3, "vestnik.messaging.conversation.a", "has version 5, after version 2")
    verify_streams._print(StreamVerdicts(False, True, [verdict(fault, faults=2)]), Console(width=200))
    output = capsys.readouterr().out
    assert "MESSAGING has 2 faults: 9 events of 2 aggregates" in output
    assert "MESSAGING:3 (vestnik.messaging.conversation.a): has version 5, after version 2" in output
    assert "and 1 more" in output
    assert "docs/runbooks/lost-events.md#what-a-verification-names" in output
