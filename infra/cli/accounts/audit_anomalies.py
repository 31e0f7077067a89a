"""`vestnik audit anomalies`: what documented rules found unusual, from the read model of the operator service."""

import asyncio
import logging
import sys
from datetime import datetime

import click
import msgspec

from contracts.services import OPERATOR
from contracts.values.timestamps import rfc3339
from infra.cli.actions.recording import look
from infra.cli.output.line_formats import aligned, csv_line, headed, shown
from infra.cli.params import Moment
from infra.cli.reader_connection import connect_reader
from infra.operator_errors import OperatorError
from infra.runtime.run_file import with_running_addresses
from infra.security.service_schemas import CachedSchemas
from infra.settings import Settings
from services.operator.anomalies.anomaly_page import AnomalyFilter, newest
from services.operator.anomalies.queries import AnomalyQueries
from services.operator.anomalies.rules import RULES, Anomaly, Rule, Thresholds
from services.operator.read_models import ReadModels

_PATIENCE = 5.0
# Seconds for one page of a long history.
_QUERY_PATIENCE = 60.0
_PAGE = 500
_WIDTHS = {"at": 24, "rule": 17, "count": 6, "username": 18, "address": 22, "operator": 16, "reason": 0}


class NotKept(OperatorError):
    """No process keeps the read model."""

    def __init__(self) -> None:
        super().__init__("the operator service is switched off (VESTNIK_OPERATOR_ADDRESS): it keeps the anomalies")


@click.command()
@click.option("--since", type=Moment(), help="From this time on: RFC 3339, or `7d` for seven days ago.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--rule", type=click.Choice(RULES), metavar="RULE", help=f"Only this rule's: {', '.join(RULES)}.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
def anomalies(since: datetime | None, until: datetime | None, rule: Rule | None, as_json: bool, as_csv: bool) -> None:
    """Shows what documented rules found unusual, in order of time.

    The time is that of the last event of each. The thresholds are those in this command's settings
    (VESTNIK_ANOMALY_…). The read model is kept by the operator service; `vestnik status` shows how far it is. This
    command is a look, too.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv cannot be combined")
    settings = Settings.load()
    if not settings.addresses[OPERATOR]:
        raise NotKept
    selection = AnomalyFilter(since=since, until=until, rules=(rule,) if rule else RULES)
    rows = asyncio.run(_run(with_running_addresses(settings), selection))
    if as_json:
        sys.stdout.write("".join(map(_json, rows)))
    elif as_csv:
        sys.stdout.write(csv_line(Anomaly.__struct_fields__) + "".join(map(_csv, rows)))
    else:
        sys.stdout.write(headed(_WIDTHS) + "".join(map(_line, rows)))


async def _run(settings: Settings, selection: AnomalyFilter) -> list[Anomaly]:
    nc = await connect_reader(settings, "operator-audit", patience=_PATIENCE)
    looked_for = {
        "rule": selection.rules[0] if len(selection.rules) == 1 else "",
        "since": rfc3339(selection.since) if selection.since else "",
        "until": rfc3339(selection.until) if selection.until else "",
    }
    try:
        await look(settings, nc, "anomalies", filter_=looked_for)
    finally:
        # The connection ends with the command: no warning is needed.
        logging.getLogger("infra.runtime.connections").setLevel(logging.ERROR)
        await nc.close()
    read_models = ReadModels(CachedSchemas(settings.database_url), patience=_QUERY_PATIENCE)
    queries, found, cursor = AnomalyQueries(read_models, Thresholds.of(settings)), list[Anomaly](), ""
    while True:
        page = await newest(queries, selection, limit=_PAGE, cursor=cursor)
        found += page.items
        if page.older is None:
            return found[::-1]
        cursor = page.older


def _json(row: Anomaly) -> str:
    times = {"at": rfc3339(row.at), "since": rfc3339(row.since)}
    return msgspec.json.encode({**msgspec.structs.asdict(row), **times}).decode() + "\n"


def _csv(row: Anomaly) -> str:
    return csv_line(msgspec.structs.astuple(row))


def _line(row: Anomaly) -> str:
    values = {name: shown(getattr(row, name)) for name in _WIDTHS}
    values["username"] = shown(row.username or row.user_id)
    return aligned(values, _WIDTHS)
