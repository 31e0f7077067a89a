from tests.faults.checker.finding import Bounds
from tests.faults.history import VERIFICATION, Mail, Request
from tests.unit.faults.made_up import findings, request

EMAIL = "anna@example.org"


def register(username: str, user_id: str, at: float = 1.0) -> Request:
    return request("register", {"email": EMAIL, "username": username}, at, 201, {"user_id": user_id})


def log_in(username: str, user_id: str, status: int = 201) -> Request:
    answer = {"user_id": user_id, "session_id": f"s of {user_id}", "refresh_token": "t"} if status == 201 else None
    code = "" if status == 201 else "email_not_verified"
    return request("log_in", {"email": EMAIL, "username": username}, 9.0, status, answer, code=code)


def mail(number: int = 1, token: str = "t1") -> Mail:
    return Mail(address=EMAIL, message_id=f"<{number}>", kind=VERIFICATION, tokens=[token], received=2.0)


VERIFIED = request("verify", {"email": EMAIL, "username": "anna", "token": "t1"}, 3.0, 204)


def test_an_address_that_one_of_two_registrations_gets_is_sound() -> None:
    records = [register("anna", "u1"), register("hanna", "u2"), mail(1, "t1"), mail(2, "t2"), VERIFIED]
    assert findings(*records, log_in("anna", "u1"), log_in("hanna", "u2", 403)) == []


def test_two_accounts_with_one_address_are_noticed() -> None:
    assert findings(log_in("anna", "u1"), log_in("hanna", "u2")) == ["accounts.shared_addresses"]


def test_an_address_that_was_verified_and_belongs_to_no_account_is_noticed() -> None:
    assert findings(VERIFIED, log_in("anna", "u1", 403)) == ["accounts.shared_addresses"]


def test_two_accounts_with_one_username_are_noticed() -> None:
    records = [register("anna", "u1"), register("anna", "u2"), mail(1, "t1"), mail(2, "t2")]
    assert findings(*records) == ["accounts.shared_usernames"]


def test_a_registration_without_a_mail_is_noticed() -> None:
    assert findings(register("anna", "u1")) == ["accounts.mails_never_sent"]


def test_one_token_in_two_mails_is_noticed() -> None:
    assert findings(register("anna", "u1"), mail(1), mail(2)) == ["accounts.mails_sent_twice"]


def test_more_mails_than_registrations_are_noticed() -> None:
    assert findings(register("anna", "u1"), mail(1, "t1"), mail(2, "t2")) == ["accounts.mails_sent_twice"]


def test_a_mail_may_be_repeated_with_its_id_after_a_crash_alone() -> None:
    records = [register("anna", "u1"), mail(), mail()]
    assert findings(*records) == []
    assert findings(*records, bounds=Bounds(mails_may_repeat=False)) == ["accounts.mails_sent_twice"]
