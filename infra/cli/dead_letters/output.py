"""Prints dead letters and the outcome of retries."""

import msgspec
from rich.console import Console

from infra.cli.output.tables import literal
from projections.engine.dead_letters.outcomes import Retried
from services.operator.dead_letters.views import Letter, LetterWithEvent

_SHORT = 200


def print_letter(letter: LetterWithEvent, console: Console) -> None:
    fields: dict[str, object] = {name: getattr(letter, name) for name in letter.__struct_fields__}
    if letter.discard is not None:
        fields["discard"] = f"by {letter.discard.by} at {letter.discard.at:%Y-%m-%d %H:%M:%S}: {letter.discard.reason}"
    names = max(map(len, fields))
    for name, value in fields.items():
        if value is not None and value != "" and name != "event":
            console.print(f"[bold]{name:<{names}}[/] {literal(str(value))}", soft_wrap=True)
    if letter.event is not None:
        console.print_json(msgspec.json.encode(letter.event).decode())


def print_retried(retried: Retried, console: Console) -> None:
    colour = "green" if retried.outcome == "applied" else "red"
    text = f"[{colour}]{retried.outcome}[/] {retried.id}: {retried.applied:,} applied"
    if retried.left:
        where = "" if retried.failed_id is None else f"{retried.failed_id}: "
        text += f", {retried.left:,} left; {where}{literal(retried.reason or '')}"
    console.print(text, soft_wrap=True)


def line(letter: Letter) -> str:
    """Formats a dead letter as up to two lines; the whole id is first, since the other commands need it."""
    waiting = f", {letter.waiting:,} waiting" if letter.waiting else ""
    why = letter.error if letter.discard is None else f"discarded by {letter.discard.by}: {letter.discard.reason}"
    head = f"{letter.id}  {_coloured(letter.state)}  {literal(letter.type)} of {literal(letter.aggregate_id)}{waiting}"
    return f"{head}\n    {literal(_short(why))}" if why else head


def _coloured(state: str) -> str:
    return f"[{'red' if state == 'failed' else 'dim'}]{state}[/]"


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else text[:_SHORT] + "…"
