"""A user is online who is connected to at least one gateway, whatever the gateways send in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from contracts.values.ids import new_id
from services.gateway.presence.messages import pack, unpack
from services.gateway.presence.online_users import OnlineUsers

USERS = st.lists(st.sampled_from("abcd"), max_size=4)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "replace", "forget"]), st.sampled_from(["one", "other"]), USERS),
    max_size=20,
)


@given(STEPS)
def test_every_change_names_those_for_whom_it_makes_a_difference(steps: list[tuple[str, str, list[str]]]) -> None:
    users, model = OnlineUsers(), dict[str, set[str]]({"one": set(), "other": set()})
    for step, gateway, user_ids in steps:
        before = set.union(*model.values())
        came, gone = list[str](), list[str]()
        match step:
            case "add":
                model[gateway] |= set(user_ids)
                came = users.add(gateway, user_ids)
            case "remove":
                model[gateway] -= set(user_ids)
                gone = users.remove(gateway, user_ids)
            case "replace":
                model[gateway] = set(user_ids)
                came, gone = users.replace(gateway, user_ids)
            case _:
                model[gateway] = set()
                gone = users.forget(gateway)
        after = set.union(*model.values())
        assert (sorted(came), sorted(gone)) == (sorted(after - before), sorted(before - after))
        assert len(users) == len(after)
        assert all((user in users) == (user in after) for user in "abcd")
        assert all(users.at(name) == present for name, present in model.items())


def test_users_are_packed_into_sixteen_bytes_each() -> None:
    ids = [new_id() for _ in range(3)]
    assert unpack(pack(ids)) == ids
    assert len(pack(ids)) == 48
    assert unpack(pack([])) == []
