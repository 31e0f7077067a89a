from tests.faults.history import Request
from tests.unit.faults.made_up import ANNA, conversation, delivered, findings, request, send, stored


def refresh(spent: str, at: float, following: str = "", *, status: int = 200, code: str = "") -> Request:
    answer = {"refresh_token": following} if following else None
    return request("refresh", {"refresh_token": spent}, at, status, answer, user=ANNA, session="s1", code=code)


def look(at: float, status: int = 200, code: str = "") -> Request:
    return request("look", {}, at, status, user=ANNA, session="s1", code=code)


REVOKED = request("revoke", {"session_id": "s1"}, 10.0, 204, user=ANNA, session="s0")
REUSED = refresh("t1", 3.0, status=401, code="refresh_token_reused")


def test_a_session_that_is_refreshed_and_revoked_is_sound() -> None:
    refused = look(20.0, 401, "unauthenticated")
    assert findings(refresh("t1", 1.0, "t2"), refresh("t2", 2.0, "t3"), look(3.0), REVOKED, look(14.0), refused) == []


def test_an_access_token_that_is_good_after_the_bound_of_a_revocation_is_noticed() -> None:
    assert findings(REVOKED, look(17.0)) == ["sessions.good_after_revocation"]


def test_an_event_that_is_delivered_after_the_bound_of_a_revocation_is_noticed() -> None:
    event = delivered(stored(1), 17.0, session="s1")
    assert findings(send(1, 5.0), REVOKED, event, *conversation(stored(1))) == ["sessions.good_after_revocation"]


def test_a_spent_refresh_token_that_is_accepted_after_its_successor_was_used_is_noticed() -> None:
    records = [refresh("t1", 1.0, "t2"), refresh("t2", 2.0, "t3"), refresh("t1", 3.0, "t4")]
    assert findings(*records) == ["sessions.reuse_unnoticed"]


def test_a_spent_refresh_token_that_is_accepted_after_its_grace_is_noticed() -> None:
    assert findings(refresh("t1", 1.0, "t2"), refresh("t1", 32.0, "t3")) == ["sessions.reuse_unnoticed"]


def test_a_refresh_token_may_be_sent_again_within_its_grace() -> None:
    assert findings(refresh("t1", 1.0, "t2"), refresh("t1", 11.0, "t2"), refresh("t2", 12.0, "t3")) == []


def test_a_reuse_that_did_not_end_its_session_is_noticed() -> None:
    reused = [refresh("t1", 1.0, "t2"), refresh("t2", 2.0, "t3"), REUSED]
    assert findings(*reused, look(20.0)) == ["sessions.good_after_revocation"]
    assert findings(*reused, refresh("t3", 20.0, "t4")) == ["sessions.good_after_revocation"]


def test_a_reuse_without_an_answer_says_nothing() -> None:
    assert findings(refresh("t1", 1.0, "t2"), refresh("t2", 2.0, "t3"), refresh("t1", 3.0, status=0), look(20.0)) == []


def test_a_session_that_ends_without_a_cause_is_noticed() -> None:
    assert findings(refresh("t1", 1.0, "t2"), refresh("t2", 2.0, status=401, code="invalid_refresh_token")) == [
        "sessions.ended_without_cause"
    ]
