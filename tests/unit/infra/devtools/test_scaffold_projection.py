"""Making a projection: only under a name that can be one, and never over something that is there."""

import ast
from pathlib import Path

import pytest

from contracts.catalogue import EVENTS
from contracts.events.message import MessageSent
from infra.devtools.scaffold_projection import CannotMake, chosen, class_of, made, main
from projections.engine import Projection


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "projections").mkdir()
    (tmp_path / "tests" / "integration" / "projections").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("name", ["hours", "hours_of_day", "top10_talkers", "a1b_c2d"])
def test_a_class_is_called_as_its_projection(name: str) -> None:
    declared: type[Projection] = type(class_of(name), (Projection,), {})
    assert declared.name == name


NO_NAMES = (
    "",
    "a",
    "a_b",
    "Hours",
    "hours-of-day",
    "hours__of",
    "_hours",
    "hours_",
    "1st",
    "часы",
    "../hours",
    "a" * 41,
)
RESERVED = ("class", "match", "engine", "registry", "utils", "users_v2", "users_b1")


@pytest.mark.parametrize("name", [*NO_NAMES, *RESERVED])
def test_a_name_that_is_none_is_refused(root: Path, name: str) -> None:
    with pytest.raises(CannotMake):
        made(name, [MessageSent], root)
    assert list(root.rglob("*.py")) == []


def test_nothing_is_overwritten(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, test = made("hours", [MessageSent], root)
    module.write_text("mine")
    assert main(["hours"], root) == 1
    assert "projections/hours.py exists" in capsys.readouterr().err
    assert module.read_text() == "mine"
    module.unlink()
    assert main(["hours"], root) == 1
    assert not module.exists()
    test.unlink()
    assert main(["hours"], root) == 0


def test_a_class_of_another_file_is_not_declared_twice(root: Path) -> None:
    (root / "projections" / "old.py").write_text("class HoursOfDay(Projection):\n    pass\n")
    with pytest.raises(CannotMake, match="HoursOfDay already"):
        made("hours_of_day", [MessageSent], root)


@pytest.mark.parametrize("name", ["projection", "recorded", "row_changes", "message_sent"])
def test_a_class_does_not_hide_what_its_module_needs(root: Path, name: str) -> None:
    with pytest.raises(CannotMake):
        made(name, [MessageSent], root)


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_a_projection_of_any_event_is_made_with_its_test(root: Path, kind: str) -> None:
    for path in made("counted", chosen([kind], []), root):
        text = path.read_text()
        ast.parse(text)
        assert EVENTS[kind].__name__ in text
        assert max(map(len, text.splitlines())) <= 120


def test_a_stream_means_its_public_events() -> None:
    assert [event.TYPE for event in chosen([], ["auth"])] == ["user.created", "user.email_verified"]
    assert chosen([], []) == [MessageSent]


@pytest.mark.parametrize(
    ("types", "streams", "says"),
    [
        (["message.snet"], [], "no event message.snet; there are: .*message.sent"),
        ([], ["mesaging"], "no stream mesaging; there are: AUTH"),
        (["message.sent", "credential.set"], [], "credential.set is private"),
    ],
)
def test_what_cannot_be_read_is_named(types: list[str], streams: list[str], says: str) -> None:
    with pytest.raises(CannotMake, match=says):
        chosen(types, streams)
