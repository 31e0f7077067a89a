import asyncio
import os
import signal
from pathlib import Path

import pytest
from rich.console import Console

from infra.load.errors import LoadError
from infra.load.history_file import read_history
from infra.load.report import Report
from infra.load.run import Order, load
from tests.unit.infra.load.fake_gateway import Answer, FakeGateway, Request

ROWS = [(f"p{i % 7}", f"p{(i * i + 3) % 7}", f"text {i}") for i in range(200)]
MESSAGES = [(one, other, text) for one, other, text in ROWS if one != other]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.tsv"
    lines = [f"{one}\t{other}\t{1000 + i}\t{text}\n" for i, (one, other, text) in enumerate(MESSAGES)]
    path.write_text("sender\trecipient\tunix_time\ttext\n" + "".join(lines))
    return path


async def run(gateway: FakeGateway, history: Path, *, in_flight: int = 8, limit: int | None = None) -> Report:
    order = Order(
        history=read_history(history, limit),
        url=gateway.url,
        state=history.parent / "state.jsonl",
        mail_dir=gateway.mail_dir,
        in_flight=in_flight,
    )
    return await load(order, Console(quiet=True))


def texts(gateway: FakeGateway) -> list[list[str]]:
    """The texts of each conversation, conversations in no particular order."""
    return sorted([text for _, text in messages] for messages in gateway.messages.values())


def expected() -> list[list[str]]:
    conversations: dict[frozenset[str], list[str]] = {}
    for one, other, text in MESSAGES:
        conversations.setdefault(frozenset((one, other)), []).append(text)
    return sorted(conversations.values())


async def test_every_message_arrives_in_the_order_of_its_conversation(gateway: FakeGateway, history: Path) -> None:
    report = await run(gateway, history)
    assert texts(gateway) == expected()
    assert (report.users, report.messages, report.conversations) == (7, len(MESSAGES), len(expected()))
    assert report.friendships == len(gateway.accepted) == len(expected())
    assert (report.sent, report.repeated, report.errors) == (len(MESSAGES), 0, 0)
    assert 0 < report.p50_ms <= report.p99_ms


async def test_a_second_run_sends_nothing(gateway: FakeGateway, history: Path) -> None:
    await run(gateway, history)
    report = await run(gateway, history)
    assert (report.messages, report.sent, report.errors) == (len(MESSAGES), 0, 0)
    assert texts(gateway) == expected()


async def test_without_its_state_file_a_second_run_repeats_everything_and_doubles_nothing(
    gateway: FakeGateway, history: Path
) -> None:
    await run(gateway, history, limit=100)
    (history.parent / "state.jsonl").unlink()
    report = await run(gateway, history)
    assert (report.messages, report.sent, report.repeated) == (len(MESSAGES), len(MESSAGES), 100)
    assert texts(gateway) == expected()
    assert report.errors == 0


async def test_a_state_file_of_a_system_that_was_wiped_is_put_aside(gateway: FakeGateway, history: Path) -> None:
    await run(gateway, history)
    wiped = FakeGateway(gateway.mail_dir)
    gateway.__dict__.update({**wiped.__dict__, "url": gateway.url})
    report = await run(gateway, history)
    assert (report.sent, report.errors) == (len(MESSAGES), 0)
    assert texts(gateway) == expected()


async def test_lost_responses_and_overload_duplicate_no_message(gateway: FakeGateway, history: Path) -> None:
    count = 0

    def instead(request: Request, answer: Answer) -> Answer:
        nonlocal count
        count += 1
        if count % 5 == 0:
            return None
        return (503, {}, {"code": "overloaded"}) if count % 7 == 0 else answer

    gateway.instead = instead
    report = await run(gateway, history, in_flight=16)
    assert texts(gateway) == expected()
    assert report.errors == 0
    assert report.retries


async def test_a_message_that_fails_holds_up_its_conversation_and_no_other(gateway: FakeGateway, history: Path) -> None:
    gateway.instead = lambda request, answer: (
        (422, {}, {"code": "invalid", "detail": "no"}) if request.body.get("text") == "text 1" else answer
    )
    report = await run(gateway, history)
    assert report.error_kinds == {"422 invalid": 1}
    assert report.conversations == len(expected()) - 1
    held_up = [conversation for conversation in texts(gateway) if conversation not in expected()]
    assert [conversation[-1] for conversation in held_up] == ["text 1"]


async def test_an_access_token_that_is_refused_is_replaced(gateway: FakeGateway, history: Path) -> None:
    refused_tokens: set[str] = set()

    def instead(request: Request, answer: Answer) -> Answer:
        if request.path.endswith("/messages") and request.token not in refused_tokens and not refused_tokens:
            refused_tokens.add(request.token)
            return 401, {}, {"code": "unauthenticated"}
        return answer

    gateway.instead = instead
    report = await run(gateway, history, in_flight=1)
    assert report.errors == 0
    assert texts(gateway) == expected()
    assert any(request.path.endswith("/refresh") for request in gateway.requests)


async def test_a_user_that_contact_does_not_know_yet_is_asked_for_again(gateway: FakeGateway, history: Path) -> None:
    unknown = iter(range(10))
    gateway.instead = lambda request, answer: (
        (404, {}, {"code": "user_not_found"})
        if "/friends/" in request.path and next(unknown, None) is not None
        else answer
    )
    report = await run(gateway, history)
    assert report.errors == 0
    assert texts(gateway) == expected()


async def test_a_stopped_run_says_so_and_the_next_goes_on(gateway: FakeGateway, history: Path) -> None:
    sent = asyncio.Event()

    def instead(request: Request, answer: Answer) -> Answer:
        if request.body.get("text") == "text 50":
            sent.set()
        return answer

    gateway.instead = instead
    running = asyncio.create_task(run(gateway, history, in_flight=2))
    await sent.wait()

    os.kill(os.getpid(), signal.SIGINT)
    first = await running
    assert first.stopped
    assert 0 < first.messages < len(MESSAGES)
    second = await run(gateway, history)
    assert first.sent + second.sent == len(MESSAGES)
    assert texts(gateway) == expected()


async def test_the_missing_mail_ends_the_load_with_one_line(
    gateway: FakeGateway, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.load.accounts._MAIL_WITHIN", 0.01)
    gateway.mail_dir = history.parent / "elsewhere"
    order = Order(
        history=read_history(history),
        url=gateway.url,
        state=history.parent / "state.jsonl",
        mail_dir=history.parent / "empty",
        in_flight=4,
    )
    with pytest.raises(LoadError, match="No valid verification mail for"):
        await load(order, Console(quiet=True))
