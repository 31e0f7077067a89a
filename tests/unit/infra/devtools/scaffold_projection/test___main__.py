"""Scaffolding a projection: only under a valid name, and without overwriting anything."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.catalogue import EVENTS
from contracts.envelope import Provenance, decode, encode, open_event, seal
from contracts.events.loss import EventsLost
from contracts.events.message import MessageSent
from contracts.subjects import PUBLIC_FILTERS, STREAMS
from contracts.values.ids import new_id
from infra.devtools.scaffold_projection import read_model, reads
from infra.devtools.scaffold_projection.__main__ import ROOT, made, main
from infra.devtools.scaffold_projection.errors import CannotMake
from infra.devtools.scaffold_projection.events import chosen, samples_of
from infra.devtools.scaffold_projection.names import class_of
from infra.devtools.scaffold_projection.reads import RIGHTS
from projections.engine import Projection

# The services whose read models users may be shown.
OWNERS = [STREAMS[stream] for stream in PUBLIC_FILTERS]
# The events that they append.
COUNTED = [
    kind
    for kind, event in EVENTS.items()
    if AGGREGATE_TYPE_OF[kind].stream in PUBLIC_FILTERS and not issubclass(event, EventsLost)
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in (
        "projections",
        "contracts/reads",
        "services/gateway/routes/reads",
        "tests/integration/projections",
        "tests/integration/reads",
        *(f"services/{service}/reads" for service in OWNERS),
        *(f"contracts/proto/vestnik/{service}/v1" for service in OWNERS),
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / RIGHTS).write_text((ROOT / RIGHTS).read_text())
    (tmp_path / "services/gateway/routes/presence.py").write_text('path="/v1/presence",\n')
    (tmp_path / "contracts/proto/vestnik/messaging/v1/messaging.proto").write_text("service MessagingService {\n}\n")
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
RESERVED = ("class", "match", "none", "true", "engine", "registry", "utils", "users_v2", "users_b1")


@pytest.mark.parametrize("name", [*NO_NAMES, *RESERVED])
def test_a_name_that_is_none_is_refused(root: Path, name: str) -> None:
    with pytest.raises(CannotMake):
        made(name, [MessageSent], root)
    assert not [*root.glob("projections/*"), *root.glob("tests/**/*.py")]


def test_nothing_is_overwritten(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, test = (root / path for path in made("hours", [MessageSent], root))
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


@pytest.mark.parametrize(
    "name", ["open_read_model", "projection", "recorded", "row_changes", "message_sent", "show_read_model"]
)
def test_a_class_does_not_hide_what_its_module_needs(root: Path, name: str) -> None:
    with pytest.raises(CannotMake):
        made(name, [MessageSent], root)


def test_a_projection_of_any_event_is_made_with_its_tests(root: Path) -> None:
    for kind in COUNTED:
        events, name = chosen([kind], []), kind.replace(".", "_").ljust(40, "x")
        files = read_model.files(name, events) | reads.files(name, events, root)
        assert len(files) == 7
        for path, text in files.items():
            if path.startswith(("projections", "tests")):
                assert EVENTS[kind].__name__ in text
            (root / path).write_text(text)
    ruff = [sys.executable, "-m", "ruff"]
    configured = ["--config", str(ROOT / "pyproject.toml"), "."]
    subprocess.run([*ruff, "check", "--quiet", "--fix-only", *configured], cwd=root, check=True)
    subprocess.run([*ruff, "format", "--quiet", *configured], cwd=root, check=True)
    # Not that a line is too long, either.
    subprocess.run([*ruff, "check", "--ignore", "INP001", *configured], cwd=root, check=True)


@pytest.mark.parametrize("kind", [*COUNTED, "operator.acted", "projection.begun"])
def test_the_sample_of_any_event_can_be_stored_and_read(kind: str) -> None:
    (event,) = chosen([kind], [])
    namespace: dict[str, Any] = {}
    exec("\n".join(reversed(samples_of([event]))), namespace)
    sample = namespace[kind.replace(".", "_")]()
    assert type(sample) is event
    envelope = seal(sample, aggregate_id=new_id(), version=1, provenance=Provenance())
    stored = decode(encode(envelope))
    assert open_event(stored, stream="", sequence=1, subject="").data == sample


def test_a_read_model_is_shown_to_the_user_who_asks(root: Path) -> None:
    made("hours", chosen([], []), root, query=True)
    made("logins", chosen(["session.created"], []), root, query=True)
    rights = (root / RIGHTS).read_text()
    before = (ROOT / RIGHTS).read_text()
    rows = [line.strip() for line in rights.splitlines() if line not in before.splitlines()]
    assert {row for row in rows if "Service" in row} == {
        '"vestnik.messaging.v1.HoursService": _FOR_USER,',
        '"vestnik.session.v1.LoginsService": _FOR_USER,',
    }


def test_what_shows_a_read_model_takes_no_name_and_overwrites_no_file(root: Path) -> None:
    existing_route = root / "services/gateway/routes/reads/hours.py"
    existing_route.write_text("mine")
    refused = {
        "hours": "routes/reads/hours.py exists",
        "presence": "presence.py has .*/v1/presence",
        "messaging": "service",
        # The compiler would call its classes P2PChats.
        "p2p_chats": "a digit within a word",
    }
    for name, reason in refused.items():
        with pytest.raises(CannotMake, match=reason):
            made(name, [MessageSent], root, query=True)
    with pytest.raises(CannotMake, match="operator shows no read models to users"):
        made("actions", chosen(["operator.acted"], []), root, query=True)
    existing_route.unlink()
    rights = (root / RIGHTS).read_text()
    (root / RIGHTS).write_text("")
    with pytest.raises(CannotMake, match="has no line `READS"):
        made("hours", [MessageSent], root, query=True)
    assert not [*root.glob("projections/*"), *root.glob("contracts/reads/*"), *root.glob("tests/**/*.py")]
    (root / RIGHTS).write_text(rights)
    made("hours", [MessageSent], root, query=True)


def test_a_stream_means_its_public_events() -> None:
    assert [event.TYPE for event in chosen([], ["auth"])] == [
        "user.created",
        "user.email_verified",
        "user.erasure_requested",
        "user.erasure_cancelled",
        "user.erased",
        "user.erasure_completed",
    ]
    assert all(getattr(sys.modules[event.__module__], event.__name__) for event in chosen([], list(PUBLIC_FILTERS)))
    assert chosen([], []) == [MessageSent]


@pytest.mark.parametrize(
    ("types", "streams", "says"),
    [
        (["message.snet"], [], "no event message.snet; there are: .*message.sent"),
        ([], ["mesaging"], "no stream mesaging; there are: AUTH"),
        (["message.sent", "credential.set"], [], "credential.set is private"),
        (["tree_head.signed"], [], "in NOTARY, which only a projection with service"),
    ],
)
def test_what_cannot_be_read_is_named(types: list[str], streams: list[str], says: str) -> None:
    with pytest.raises(CannotMake, match=says):
        chosen(types, streams)
