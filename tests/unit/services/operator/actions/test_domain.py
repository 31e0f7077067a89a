"""Recorded acts and looks: bounded texts, whatever an operator gives."""

import msgspec
import pytest

from services.operator.actions import domain
from services.operator.actions.domain import Actor

ANNA = Actor(name="anna", user_id="01890a5d-ac96-774b-bcce-b302099a8057", channel="page", address="192.0.2.0/24")
AT_THE_MACHINE = Actor(name="root", user_id=None, channel="command_line", address="host-1")


def test_an_act_names_who_acts_from_where_and_why() -> None:
    event = domain.acted(ANNA, "report.settle", "r", {"outcome": "upheld", "nothing": ""}, " twice\n reported ")
    assert (event.operator, event.operator_id, event.channel, event.address) == (
        "anna",
        ANNA.user_id,
        "page",
        "192.0.2.0/24",
    )
    assert (event.target, event.details, event.reason) == ("r", {"outcome": "upheld"}, "twice reported")


def test_the_envelope_names_an_account_or_a_login_of_the_machine() -> None:
    assert (ANNA.id, AT_THE_MACHINE.id) == (ANNA.user_id, "operator:root")


def test_where_no_erasure_reaches_an_account_is_named_by_its_id() -> None:
    assert (ANNA.recorded_name, AT_THE_MACHINE.recorded_name) == (ANNA.user_id, "root")


@pytest.mark.parametrize("text", ["x" * 100_000, "\udcff\udcfe", "a\x00b", "\n\n"])
def test_any_text_can_be_stored_and_none_is_long(text: str) -> None:
    acted = domain.acted(AT_THE_MACHINE, "archive.export", text, {"file": text}, text)
    looked = domain.looked(AT_THE_MACHINE, "events", text, {str(number): text for number in range(100)})
    ended = domain.ended("failed", text)
    for event in (acted, looked, ended):
        stored = msgspec.json.encode(event)
        assert len(stored) < 10_000
        assert b"\\u0000" not in stored


def test_only_what_is_in_the_table_can_be_recorded() -> None:
    with pytest.raises(LookupError):
        domain.acted(ANNA, "anything.else", "", {}, "")
    with pytest.raises(LookupError):
        domain.looked(ANNA, "anything", "", {})


@pytest.mark.parametrize(
    ("asked", "recorded"),
    [
        ("", ""),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8057"),
        (f"{'ab' * 16}", f"{'ab' * 16}"),
        (f"{ANNA.user_id}.{ANNA.user_id}", f"{ANNA.user_id}.{ANNA.user_id}"),
        ("MESSAGING.12", "MESSAGING.12"),
        ("anna", "(unknown id)"),
        ("anna@example.org", "(unknown id)"),
        (f"{ANNA.user_id}.anna", "(unknown id)"),
    ],
)
def test_a_look_keeps_no_name_that_was_typed_as_an_id(asked: str, recorded: str) -> None:
    assert domain.recorded_id(asked) == recorded
