from tests.unit.faults.made_up import ANNA, BORIS, befriend, conversation, findings, read, send, stored, unfriend

FRIENDS = [befriend(ANNA, 1.0, "requested", 201), befriend(BORIS, 2.0)]
ONE = conversation(stored(1))


def test_what_friends_do_is_sound() -> None:
    assert findings(*FRIENDS, send(1, 20.0), read(1, 21.0), unfriend(ANNA, 30.0), *ONE) == []


def test_a_message_that_is_stored_after_the_bound_of_a_removal_is_noticed() -> None:
    assert findings(*FRIENDS, unfriend(ANNA, 10.0), send(1, 14.0, user=BORIS), *conversation(stored(1, BORIS))) == [
        "access.after_removal"
    ]


def test_a_message_within_the_bound_of_a_removal_is_allowed() -> None:
    assert findings(*FRIENDS, unfriend(ANNA, 10.0), send(1, 12.0), *ONE) == []


def test_a_read_after_a_removal_is_noticed() -> None:
    assert findings(*FRIENDS, unfriend(ANNA, 10.0), read(0, 14.0)) == ["access.after_removal"]


def test_a_repeated_message_is_answered_after_a_removal_too() -> None:
    assert findings(*FRIENDS, send(1, 9.0), unfriend(ANNA, 10.0), send(1, 14.0, status=200), *ONE) == []


def test_a_friendship_that_is_made_again_gives_access() -> None:
    assert findings(*FRIENDS, unfriend(ANNA, 10.0), befriend(BORIS, 12.0), send(1, 14.0), *ONE) == []


def test_an_addition_without_an_answer_may_have_given_access() -> None:
    unknown = befriend(BORIS, 9.0, status=0)
    assert findings(*FRIENDS, unknown, unfriend(ANNA, 10.0), send(1, 14.0), *ONE) == []


def test_a_friend_who_is_refused_is_noticed() -> None:
    assert findings(*FRIENDS, send(1, 20.0, status=403, code="not_friends")) == ["access.refused_friends"]


def test_a_removal_without_an_answer_may_have_ended_the_friendship() -> None:
    refused = send(1, 20.0, status=403, code="not_friends")
    assert findings(*FRIENDS, unfriend(ANNA, 15.0, status=0), refused) == []
