"""What travels with a call: the ids of a request."""

from contracts.envelope import Provenance
from infra.rpc.call_context import Call
from tests.recording_tracer import UNSAMPLED


def passed_on(call: Call) -> Call:
    return Call.from_metadata(call.metadata(), "gateway", call.actor)


def test_the_clients_id_of_a_request_is_beside_ours_at_every_service() -> None:
    call = Call(request_id="theirs", correlation_id="ours", actor="anna")
    assert passed_on(passed_on(call)).provenance() == Provenance(
        actor="anna", correlation_id="ours", request_id="theirs"
    )


def test_an_id_of_ours_is_stored_once() -> None:
    assert passed_on(Call(request_id="ours", actor="anna")).provenance() == Provenance(
        actor="anna", correlation_id="ours"
    )


def test_a_trace_context_that_is_not_valid_is_left_out() -> None:
    for header in ("x", f"00-{'0' * 32}-{'1' * 16}-01"):
        assert Call.from_metadata({"traceparent": header}, "rest", None).traceparent is None
    assert passed_on(Call(request_id="ours", traceparent=UNSAMPLED)).traceparent == UNSAMPLED
