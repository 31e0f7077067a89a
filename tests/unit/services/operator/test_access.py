"""Who may use the operators' page, and for how long after the login and the last act or look."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import NotAnOperator, ReauthenticationRequired, SecondFactorRequired
from contracts.values.ids import new_id
from infra.rpc import call_context
from infra.rpc.call_context import Call, ClientSession, enter
from infra.security.operator_accounts import FILE, Operators
from services.operator.access import OperatorAccess

ANNA, BORIS, SESSION = new_id(), new_id(), new_id()
LOGIN = datetime(2026, 12, 1, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Page:
    """Anna's page, and the clock of the operator's service."""

    def __init__(self, folder: Path, *, second_factor: bool = True) -> None:
        self.now = LOGIN
        self.operators = Operators(folder)
        self.operators.add(ANNA, "anna", "root")
        self.second_factor = second_factor
        self.restart()

    def restart(self) -> None:
        self.access = OperatorAccess(
            self.operators, second_factor=self.second_factor, keeps_addresses="prefix", clock=lambda: self.now
        )

    def ask(
        self,
        *,
        user: str = ANNA,
        code: bool = True,
        active: bool = True,
        unattended: bool = False,
        session_id: str = SESSION,
        logged_in_at: datetime = LOGIN,
    ) -> str:
        """The address under which the operator is recorded."""
        session = ClientSession(
            session_id=session_id,
            address="192.0.2.7",
            logged_in_at=int(logged_in_at.timestamp()),
            second_factor=code,
            unattended=unattended,
        )
        with calling(session):
            return self.access.check(user, active=active).address


@contextmanager
def calling(session: ClientSession | None) -> Iterator[None]:
    token = enter(Call(request_id="1", session=session))
    try:
        yield
    finally:
        call_context._current.reset(token)


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path)


def test_an_operator_who_logged_in_with_a_code_is_recorded_as_the_setting_says(page: Page) -> None:
    assert page.ask() == "192.0.2.0/24"


def test_an_operator_without_a_code_is_refused_unless_the_setting_allows_it(page: Page, tmp_path: Path) -> None:
    with pytest.raises(SecondFactorRequired):
        page.ask(code=False)
    assert Page(tmp_path, second_factor=False).ask(code=False)


def test_other_users_learn_nothing_of_the_requirements_for_operators(page: Page, tmp_path: Path) -> None:
    page.now += timedelta(days=1)
    with pytest.raises(NotAnOperator):
        page.ask(user=BORIS, code=False)
    (tmp_path / FILE).write_text("no list")
    with pytest.raises(NotAnOperator):
        page.ask()


def test_twelve_hours_after_the_login_an_operator_logs_in_again_however_active(page: Page) -> None:
    for _ in range(12 * 6 - 1):
        page.now += 10 * MINUTE
        page.ask()
    page.now += 10 * MINUTE
    with pytest.raises(ReauthenticationRequired):
        page.ask()
    assert page.ask(session_id=new_id(), logged_in_at=page.now)


def test_thirty_minutes_without_an_act_or_a_look_end_the_operators_access(page: Page) -> None:
    page.now += 29 * MINUTE
    page.ask()
    page.now += 29 * MINUTE
    page.ask()
    page.now += 30 * MINUTE
    with pytest.raises(ReauthenticationRequired):
        page.ask()
    # The refused request was no activity.
    with pytest.raises(ReauthenticationRequired):
        page.ask()


@pytest.mark.parametrize(("active", "unattended"), [(False, False), (True, True), (False, True)])
def test_the_pages_own_polling_keeps_no_operator_logged_in(page: Page, active: bool, unattended: bool) -> None:
    for _ in range(29):
        page.now += MINUTE
        page.ask(active=active, unattended=unattended)
    page.now += MINUTE
    with pytest.raises(ReauthenticationRequired):
        page.ask(active=active, unattended=unattended)


def test_sessions_are_active_each_for_itself(page: Page) -> None:
    other = new_id()
    page.now += 29 * MINUTE
    page.ask(session_id=other)
    page.now += MINUTE
    with pytest.raises(ReauthenticationRequired):
        page.ask()
    assert page.ask(session_id=other)


def test_after_a_restart_only_a_login_of_the_last_thirty_minutes_counts(page: Page) -> None:
    page.now += 20 * MINUTE
    page.ask()
    page.restart()
    page.ask()
    page.now += 20 * MINUTE
    page.restart()
    with pytest.raises(ReauthenticationRequired):
        page.ask()


def test_a_gateway_that_does_not_say_who_asks_is_refused(page: Page) -> None:
    for session in (None, ClientSession(session_id=SESSION, address="192.0.2.7", second_factor=True)):
        with calling(session), pytest.raises(ReauthenticationRequired):
            page.access.check(ANNA)
