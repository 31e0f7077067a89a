import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from contracts.values import field_types
from infra.load.identities import Namespace

DIGEST = "0123456789abcdef" * 4


def test_the_same_person_of_the_same_file_is_always_the_same_user() -> None:
    assert Namespace(DIGEST).identity("17") == Namespace(DIGEST).identity("17")
    assert Namespace(DIGEST).client_message_id(5) == Namespace(DIGEST).client_message_id(5)


def test_another_file_has_other_users_and_messages() -> None:
    one, other = Namespace(DIGEST), Namespace("f" + DIGEST[1:])
    assert one.identity("17").email != other.identity("17").email
    assert one.identity("17").username != other.identity("17").username
    assert one.identity("17").password != other.identity("17").password
    assert one.client_message_id(5) != other.client_message_id(5)


@given(st.text(min_size=1))
def test_whatever_a_person_is_called_the_registration_is_valid(person: str) -> None:
    identity = Namespace(DIGEST).identity(person)
    msgspec.convert(identity.email, field_types.Email)
    msgspec.convert(identity.username, field_types.Username)
    msgspec.convert(identity.display_name, field_types.DisplayName)
    assert 8 <= len(identity.password.encode()) <= 72
    assert re.fullmatch(r"[a-z0-9_]+", identity.username)


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_people_are_different_users(one: str, other: str) -> None:
    namespace = Namespace(DIGEST)
    same = namespace.identity(one).username == namespace.identity(other).username
    assert same == (one == other)
