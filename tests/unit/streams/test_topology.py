"""Which differences of a stream's settings may be set right, and which stop the start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.subjects import MESSAGING, STREAMS
from streams.topology import DangerousStream, Placement, differences, settings_of, settings_of_quorum

WANTED = settings_of(MESSAGING, replicas=1)
SAFE = {"description", "duplicate_window", "allow_direct", "allow_atomic"}


def test_every_stream_denies_deletion_and_has_no_limits() -> None:
    for stream in STREAMS:
        settings = settings_of(stream, replicas=3)
        assert settings["deny_delete"]
        assert settings["deny_purge"]
        assert (settings["max_age"], settings["max_msgs"], settings["max_bytes"]) == (0, -1, -1)
        assert settings["num_replicas"] == 3


def test_the_stream_of_evidence_keeps_one_message_per_process_in_memory_and_not_for_long() -> None:
    settings = settings_of_quorum(replicas=3, placement=Placement(cluster="east"))
    assert (settings["storage"], settings["max_msgs_per_subject"], settings["num_replicas"]) == ("memory", 1, 3)
    assert settings["max_age"] > 0
    assert settings["placement"] == {"cluster": "east"}


def test_metadata_that_the_server_adds_is_no_difference() -> None:
    assert differences(WANTED | {"metadata": {"_nats.ver": "2.15.1"}}, WANTED) == {}


def test_compression_stays_as_the_operator_set_it() -> None:
    assert WANTED["compression"] == "none"
    assert differences(WANTED | {"compression": "s2"}, WANTED) == {}


@given(st.sampled_from(sorted(SAFE)))
def test_a_safe_difference_is_set_right(setting: str) -> None:
    assert differences(WANTED | {setting: "other"}, WANTED) == {setting: WANTED[setting]}


@given(
    st.sampled_from(sorted(set(WANTED) - SAFE - {"num_replicas", "compression"})), st.sampled_from(["other", 7, None])
)
def test_any_other_difference_names_itself(setting: str, value: object) -> None:
    with pytest.raises(DangerousStream) as danger:
        differences(WANTED | {setting: value}, WANTED)
    assert danger.value.setting == setting
    assert repr(value) in str(danger.value)


def test_replicas_are_raised_but_not_lowered_unseen() -> None:
    three = settings_of(MESSAGING, replicas=3)
    assert differences(WANTED, three) == {"num_replicas": 3}
    with pytest.raises(DangerousStream, match="num_replicas = 3 instead of 1"):
        differences(three, WANTED)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("east", {"cluster": "east"}),
        ("east/ssd", {"cluster": "east", "tags": ["ssd"]}),
        ("/ssd,zone:a", {"tags": ["ssd", "zone:a"]}),
    ],
)
def test_a_placement_is_a_cluster_and_tags(text: str, settings: dict[str, object]) -> None:
    assert Placement.parse(text).settings() == settings


def test_a_stream_is_not_moved_unseen() -> None:
    """A placement change would copy every event to other servers at an unplanned moment."""
    east = settings_of(MESSAGING, replicas=3, placement=Placement(cluster="east"))
    assert differences(east, east) == {}
    with pytest.raises(DangerousStream, match=r"placement = {'cluster': 'east'} instead of {'cluster': 'west'}"):
        differences(east, settings_of(MESSAGING, replicas=3, placement=Placement(cluster="west")))


def test_a_placement_without_a_setting_is_left_as_it_is() -> None:
    assert differences(WANTED | {"placement": {"cluster": "east"}}, WANTED) == {}
