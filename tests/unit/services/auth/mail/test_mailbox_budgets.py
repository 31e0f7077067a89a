"""How many mails a mailbox gets, kind by kind."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from contracts.events.user import MailSent
from services.auth.mail import mailbox_budgets
from services.auth.mail.mailbox_budgets import Mailbox

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def after(*mails: tuple[str, str, datetime], about: str = "") -> Mailbox:
    state = Mailbox()
    for kind, requested_by, at in mails:
        for event in mailbox_budgets.decide_record(state, kind, requested_by, about):
            state = mailbox_budgets.evolve_mailbox(state, event, at)
    return state


def test_a_mail_is_recorded_once_for_each_event_that_requested_it() -> None:
    state = after(("verification", "first", START))
    assert state.has("first")
    assert mailbox_budgets.decide_record(state, "verification", "first") == ()
    assert mailbox_budgets.decide_record(state, "verification", "second") != ()


def test_each_kind_has_a_budget_of_its_own() -> None:
    state = after(*(("verification", f"{number}", START) for number in range(3)))
    assert not state.has_room("verification", START + 59 * MINUTE, 3)
    assert state.has_room("verification", START + 60 * MINUTE, 3)
    assert state.has_room("verification_again", START, 3)
    assert state.has_room("password_reset", START, 3)
    assert state.has_room("address_taken", START, 3)


def test_a_notice_of_security_goes_out_once_an_hour_whatever_the_budget_of_other_mails() -> None:
    state = after(("address_taken", "first", START))
    assert not state.has_room("address_taken", START + 59 * MINUTE, 1000)
    assert state.has_room("address_taken", START + 60 * MINUTE, 1)


def test_a_notice_covers_what_happened_before_it_to_the_same_address() -> None:
    state = after(("address_taken", "first", START), about="one")
    assert state.notified_since(START - MINUTE, "address_taken", "one")
    assert not state.notified_since(START + MINUTE, "address_taken", "one")
    assert not state.notified_since(START - MINUTE, "address_taken", "other")


def test_records_of_mails_that_cannot_be_requested_again_are_dropped() -> None:
    state = after(("verification", "old", START), ("verification", "new", START + timedelta(days=31)))
    assert [mail.requested_by for mail in state.sent] == ["new"]


@given(st.lists(st.integers(min_value=0, max_value=40), max_size=30).map(sorted))
def test_exactly_the_mails_of_the_last_30_days_are_kept(days: list[int]) -> None:
    state, all_mails = Mailbox(), list[tuple[str, int]]()
    for number, day in enumerate(days):
        sent = MailSent(kind="verification", requested_by=f"{number}")
        state = mailbox_budgets.evolve_mailbox(state, sent, START + timedelta(days=day))
        all_mails.append((f"{number}", day))
        kept = [requested_by for requested_by, at in all_mails if day - at < 30]
        assert [mail.requested_by for mail in state.sent] == kept


def test_an_alert_that_finds_no_room_waits_until_the_first_of_the_hour_is_an_hour_old() -> None:
    mails = [("alert_new_device", f"{number}", START + number * MINUTE) for number in range(3)]
    assert after(*mails[:2]).room_from("alert_new_device", START + 5 * MINUTE, 1) == START + 5 * MINUTE
    state = after(*mails)
    assert not state.has_room("alert_new_device", START + 5 * MINUTE, 1000)
    assert state.room_from("alert_new_device", START + 5 * MINUTE, 1) == START + 60 * MINUTE
    assert state.has_room("alert_new_device", START + 60 * MINUTE, 1)
