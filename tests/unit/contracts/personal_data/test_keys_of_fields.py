"""Every field of personal data has a rule that names its key."""

from datetime import UTC, datetime

from contracts.catalogue import EVENTS
from contracts.events.login_failure import LoginFailed
from contracts.events.session import SessionCreated
from contracts.personal_data.keys_of_fields import KEY_OF
from contracts.values.ids import new_id
from streams.personal_data.fields import fields_of


def test_each_field_of_personal_data_has_a_row_in_the_table_of_keys() -> None:
    names = {field.name for event_type in EVENTS.values() for field in fields_of(event_type)}
    assert names == set(KEY_OF), "KEY_OF in contracts/personal_data/keys_of_fields.py says which key seals each field"


def test_the_origin_of_a_login_has_the_key_of_the_month_in_which_its_term_ends() -> None:
    user, at, until = new_id(), datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)

    def keys(origin_until: datetime | None) -> set[str | None]:
        login = SessionCreated(
            user_id=user, username="anna", device="a", address="b", expires_at=at, origin_until=origin_until
        )
        failure = LoginFailed(
            user_id=user, reason="wrong_code", address="b", device="a", number=1, origin_until=origin_until
        )
        containers = {"session.created": login, "login.failed": failure}
        return {
            KEY_OF[f"{name}/{field}"](containers[name], "", at)
            for name in containers
            for field in ("device", "address")
        }

    assert keys(until) == {f"address.{user}.2026-05"}
    assert keys(None) == {f"person.{user}"}
