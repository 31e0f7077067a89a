from hypothesis import given
from hypothesis import strategies as st

from contracts.subjects import AUTH, lost_in, user
from streams.merkle.leaf import has_leaf, leaf_hasher
from tests.leaf_data import leaf_data, leaf_hash

Fields = tuple[int, str, str, bytes]
FIELDS = st.tuples(st.integers(0, 2**63), st.text(), st.text(), st.binary())


def test_a_leaf_has_the_documented_bytes() -> None:
    assert leaf_hasher("AUTH")(258, "vestnik.auth.user.1", "id", b"{}") == leaf_hash(
        b"\x00\x00\x00\x0fvestnik leaf v1"
        b"\x00\x00\x00\x04AUTH"
        b"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x01\x02"
        b"\x00\x00\x00\x13vestnik.auth.user.1"
        b"\x00\x00\x00\x02id"
        b"\x00\x00\x00\x02{}"
    )


@given(FIELDS, FIELDS)
def test_two_events_never_have_the_same_leaf(one: Fields, two: Fields) -> None:
    assert (leaf_hasher("AUTH")(*one) == leaf_hasher("AUTH")(*two)) == (one == two)
    assert leaf_hasher("AUTH")(*one) != leaf_hasher("SESSION")(*one)


@given(FIELDS)
def test_the_hasher_of_a_stream_returns_the_hash_of_the_leaf(fields: Fields) -> None:
    assert leaf_hasher("AUTH")(*fields) == leaf_hash(leaf_data("AUTH", *fields))


def test_the_placeholder_of_a_lost_event_has_no_leaf() -> None:
    assert not has_leaf(AUTH, lost_in(AUTH))
    assert has_leaf(AUTH, user("1"))
