"""What breaks readers of a released event is found and named; what does not passes."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from contracts.events.event import Event, Moment
from contracts.upcasts import STEPS
from infra.devtools.event_schemas.compatibility import breaking_changes
from tests.unit.infra.devtools.event_schemas.event_class_builder import (
    KIND,
    Field,
    PersonalText,
    breaking_lines,
    contract,
    event,
)


class Price(msgspec.Struct):
    amount: int
    currency: str = "EUR"


class PriceInText(msgspec.Struct):
    amount: str
    currency: str = "EUR"


class PriceWithTax(msgspec.Struct):
    amount: int
    currency: str = "EUR"
    tax: int = 0


class PriceWithNeededTax(msgspec.Struct):
    amount: int
    tax: int
    currency: str = "EUR"


class Branch(msgspec.Struct):
    """Has children of its own type."""

    name: str
    branches: list["Branch"] = []
    trunk: "Branch | None" = None


ID: Field = ("order_id", str)
Short, Long = Annotated[str, Meta(max_length=10)], Annotated[str, Meta(max_length=20)]


@pytest.mark.parametrize(
    "added",
    [
        [("note", str, "")],
        [("note", str | None, None), ("price", Price | None, None)],
        [("lines", tuple[str, ...], ())],
        [("bio", PersonalText, "")],
    ],
)
def test_a_new_field_with_a_default_passes(added: list[Field]) -> None:
    assert breaking_lines(event(ID), event(ID, *added)) == []


def test_the_order_of_fields_and_the_words_about_them_do_not_matter() -> None:
    described = Annotated[str, Meta(description="Whose it is.", examples=["anna"])]
    assert breaking_lines(event(ID, ("owner", str)), event(("owner", described), ID)) == []


def test_a_field_may_become_personal_since_it_is_written_plain_until_all_read_it_sealed() -> None:
    assert breaking_lines(event(("name", str)), event(("name", PersonalText))) == []
    assert breaking_lines(event(("name", str | None, None)), event(("name", PersonalText | None, None))) == []


def test_a_new_field_with_a_default_within_a_field_passes() -> None:
    assert breaking_lines(event(("price", Price)), event(("price", PriceWithTax))) == []


@pytest.mark.parametrize(
    ("before", "after", "field", "word"),
    [
        # Removed, renamed, added.
        ([ID, ("note", str)], [ID], "note", "was removed"),
        ([ID, ("note", str, "")], [ID], "note", "was removed"),
        ([ID, ("note", str)], [ID, ("remark", str)], "note", "renamed to `remark`?"),
        ([ID], [ID, ("note", str)], "note", "is new and has no default"),
        ([("price", Price)], [("price", PriceWithNeededTax)], "price.tax", "is new and has no default"),
        ([("price", PriceWithTax)], [("price", Price)], "price.tax", "was removed"),
        # Whether the field is required, and its value where it is missing.
        ([("note", str, "")], [("note", str)], "note", "has no default any more"),
        ([("note", str)], [("note", str, "")], "note", "may be left out now"),
        ([("note", str, "")], [("note", str, "none")], "note", 'from "" to "none"'),
        # Other types.
        ([("count", int)], [("count", str)], "count", "from integer to string"),
        ([("at", Moment)], [("at", str)], "at", "from date-time to string"),
        ([("note", str | None)], [("note", str)], "note", "stored events hold null"),
        ([("note", str)], [("note", str | None)], "note", "do not take null"),
        ([("price", Price)], [("price", PriceInText)], "price.amount", "from integer to string"),
        ([("tags", list[str])], [("tags", list[int])], "tags[]", "from string to integer"),
        ([("prices", list[Price])], [("prices", list[PriceInText])], "prices[].amount", "from integer to string"),
        ([("price", Price | None, None)], [("price", PriceInText | None, None)], "price.amount", "changed its type"),
        ([("by", dict[str, int])], [("by", dict[str, str])], "by", "additionalProperties"),
        # Other limits.
        ([("note", str)], [("note", Short)], "note", "`maxLength`, from none to 10"),
        ([("note", Long)], [("note", Short)], "note", "`maxLength`, from 20 to 10"),
        ([("note", Short)], [("note", Long)], "note", "`maxLength`, from 10 to 20"),
        ([("way", Literal["a", "b"])], [("way", Literal["a"])], "way", "`enum`"),
        ([("way", Literal["a"])], [("way", Literal["a", "b"])], "way", "`enum`"),
        ([("way", str)], [("way", Literal["a"])], "way", "changed its type"),
        # Other marks.
        ([("count", int)], [("count", PersonalText)], "count", "from integer to string"),
        ([("name", PersonalText)], [("name", str)], "name", "is not personal any more"),
        ([("name", PersonalText | None, None)], [("name", str | None, None)], "name", "is not personal any more"),
    ],
)
def test_what_breaks_readers_is_named_with_its_field(
    before: list[Field], after: list[Field], field: str, word: str
) -> None:
    lines = [
        line for line in breaking_lines(event(*before), event(*after)) if line.startswith(f"{KIND}: field `{field}` ")
    ]
    assert len(lines) == 1
    assert word in lines[0]


def test_a_removed_event_is_named() -> None:
    assert [str(change) for change in breaking_changes([contract(event(ID))], {})] == [
        f"{KIND}: was removed, but its events stay stored: keep the class"
    ]


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize("private", [True, False])
def test_a_changed_privacy_always_breaks(monkeypatch: pytest.MonkeyPatch, schema: int, private: bool) -> None:
    monkeypatch.setitem(STEPS, (KIND, 1), lambda data: data)
    (line,) = breaking_lines(event(ID, private=private), event(ID, private=not private, schema=schema))[:1]
    assert ("was private and is public now" if private else "was public and is private now") in line


def test_a_changed_subject_always_breaks() -> None:
    before, now = event(ID), event(ID)
    on_another_subject = contract(now, "vestnik.orders.purchase.*")
    (change,) = breaking_changes([contract(before)], {KIND: (now, on_another_subject)})
    assert "moved from vestnik.orders.order.* to vestnik.orders.purchase.*" in str(change)


class TestRaised:
    """A raised SCHEMA permits most changes, once upcasts lead to it."""

    @pytest.fixture(autouse=True)
    def _steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def step(self, schema: int, **fields: object) -> None:
        self.monkeypatch.setitem(STEPS, (KIND, schema), lambda data: data | fields)

    def test_a_raised_schema_with_its_step_passes(self) -> None:
        self.step(1, count=1)
        assert breaking_lines(event(ID), event(ID, ("count", int), schema=2)) == []

    def test_a_raised_schema_with_a_recursive_field_passes(self) -> None:
        self.step(1)
        assert breaking_lines(event(("tree", Branch)), event(("tree", Branch), schema=2)) == []

    def test_a_raised_schema_without_a_step_does_not_pass(self) -> None:
        (line,) = breaking_lines(event(ID), event(ID, schema=2))
        assert "has SCHEMA 2, but contracts/upcasts.py has no step from 1 to 2" in line

    def test_a_chain_of_steps_with_a_gap_does_not_pass(self) -> None:
        self.step(1)
        self.step(3)
        lines = breaking_lines([event(ID), event(ID, schema=2)], event(ID, schema=4))
        assert [line.partition("no step ")[2] for line in lines] == ["from 2 to 3"]

    def test_a_step_that_older_events_need_must_be_kept(self) -> None:
        self.step(2)
        lines = breaking_lines([event(ID), event(ID, schema=2), event(ID, schema=3)], event(ID, schema=3))
        assert [line.partition("no step ")[2] for line in lines] == ["from 1 to 2"]

    def test_a_step_that_does_not_lead_to_todays_shape_does_not_pass(self) -> None:
        self.step(1, count="one")
        (line,) = breaking_lines(event(ID), event(ID, ("count", int), schema=2))
        assert "cannot be brought from schema 1 to 2" in line
        assert "$.count" in line

    def test_a_step_that_fails_on_a_sealed_value_does_not_pass(self) -> None:
        self.monkeypatch.setitem(STEPS, (KIND, 1), lambda data: data | {"count": len(data["name"].split())})
        before, now = event(("name", PersonalText)), event(("name", PersonalText), ("count", int), schema=2)
        (line,) = breaking_lines(before, now)
        assert "AttributeError" in line
        assert "ciphertext" in line

    def test_a_step_that_needs_an_optional_field_does_not_pass(self) -> None:
        self.monkeypatch.setitem(STEPS, (KIND, 1), lambda data: {"remark": data["note"]})
        (line,) = breaking_lines(event(("note", str, "")), event(("remark", str), schema=2))
        assert "KeyError" in line
        assert line.endswith("{}")

    def test_what_was_personal_stays_personal(self) -> None:
        self.step(1, name="nobody")
        (line,) = breaking_lines(event(("name", PersonalText)), event(("name", str), schema=2))
        assert "is not personal any more" in line

    def test_a_field_of_a_raised_schema_may_become_personal(self) -> None:
        self.step(1)
        assert breaking_lines(event(("name", str)), event(("name", PersonalText), schema=2)) == []

    def test_a_lowered_schema_does_not_pass(self) -> None:
        (line,) = breaking_lines([event(ID), event(ID, schema=2)], event(ID))
        assert "has SCHEMA 1, but 2 was released" in line

    def test_a_step_without_a_raised_schema_does_not_pass(self) -> None:
        self.step(1, count=1)
        (line,) = breaking_lines(event(ID), event(ID))
        assert "has a step from schema 1 in contracts/upcasts.py, but SCHEMA is 1" in line

    def test_a_new_event_may_begin_anywhere(self) -> None:
        now = event(ID, schema=3)
        assert breaking_changes([], {KIND: (now, contract(now))}) == []


@pytest.mark.parametrize("kind", [str, int, bool, float, datetime, Moment, list[str], Price, Branch, Literal["a"], Any])
def test_an_event_never_breaks_itself(kind: Any) -> None:  # noqa: ANN401 - any type at all
    same: type[Event] = event(("value", kind), ("optional", kind | None if kind is not Any else Any, None))
    assert breaking_lines(same, same) == []
