"""SQL queries of anomalies over the read model `anomalies`: each rule is one SELECT."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from contracts.errors import ReadModelBehind, Unavailable
from services.operator.anomalies.rules import RULES, Anomaly, Rule, Thresholds
from services.operator.read_models import ReadModels

_MODEL = "anomalies"
# `id` makes the order total: it differs between two anomalies of the same time.
_FOUND = """
SELECT 'account_failures' AS rule, concat_ws(' ', 'a', user_id, extract(epoch FROM hour)) AS id,
    last_at AS at, first_at AS since, user_id, NULL AS address,
    NULL AS operator, NULL AS operator_id, failures AS count, NULL AS reason
FROM {account_hours} WHERE failures >= nullif(%(account_failures)s, 0)
UNION ALL
SELECT 'address_failures', concat_ws(' ', 'b', address, extract(epoch FROM hour)),
    last_at, first_at, NULL, address, NULL, NULL, failures, NULL
FROM (
    SELECT hour, address, sum(failures)::bigint AS failures, min(first_at) AS first_at, max(last_at) AS last_at
    -- An hour's failures may be recorded at the beginning of the next.
    FROM {address_hours} WHERE hour >= %(since)s::timestamptz - interval '2 hours' GROUP BY hour, address
) AS addresses
WHERE failures >= nullif(%(address_failures)s, 0)
UNION ALL
SELECT 'new_network', concat_ws(' ', 'c', user_id, network),
    greatest(first_at, at), least(first_at, at), user_id, network, NULL, NULL, 1, reason
FROM (
    -- Of several password changes the nearest.
    SELECT DISTINCT ON (n.user_id, n.network) n.user_id, n.network, n.first_at, p.at, p.reason
    FROM {networks} AS n JOIN {password_changes} AS p ON p.user_id = n.user_id
        AND p.at BETWEEN n.first_at - interval '1 hour' AND n.first_at + interval '1 hour'
    WHERE n.first_at >= %(since)s::timestamptz - interval '1 hour'
        AND EXISTS (SELECT FROM {networks} AS o WHERE o.user_id = n.user_id AND o.first_at < n.first_at)
        -- A network has a row for each month in which logins from there end.
        AND NOT EXISTS (
            SELECT FROM {networks} AS e
            WHERE e.user_id = n.user_id AND e.network = n.network AND e.first_at < n.first_at
        )
    ORDER BY n.user_id, n.network, abs(extract(epoch FROM p.at - n.first_at)), p.sequence
) AS new_networks
UNION ALL
SELECT 'operator_' || kind || 's', concat_ws(' ', 'd', kind, operator, name, extract(epoch FROM hour)),
    last_at, first_at, NULL, NULL, nullif(name, ''),
    CASE WHEN operator NOT LIKE 'operator:%%' THEN operator END, events, NULL
FROM {operator_hours}
WHERE events >= nullif(CASE kind WHEN 'look' THEN %(operator_looks)s ELSE %(operator_exports)s END, 0)
"""
_NEWEST = f"""
SELECT * FROM ({_FOUND}) AS found
WHERE at >= %(since)s AND at < %(until)s AND rule = ANY(%(rules)s) AND (at, id) < (%(before_at)s, %(before_id)s)
ORDER BY at DESC, id DESC LIMIT %(limit)s
"""  # noqa: S608
_COUNTS = f"SELECT rule, count(*) FROM ({_FOUND}) AS found WHERE at >= %(since)s GROUP BY rule"  # noqa: S608
_USERNAMES = "SELECT user_id, username FROM {users} WHERE user_id = ANY(%(user_ids)s::uuid[])"


class AnomalyRow(msgspec.Struct, frozen=True, kw_only=True):
    rule: Rule
    id: str
    at: datetime
    since: datetime
    user_id: str | None
    address: str | None
    operator: str | None
    operator_id: str | None
    count: int
    reason: str | None


class _Count(msgspec.Struct, frozen=True):
    rule: Rule
    count: int


class _Username(msgspec.Struct, frozen=True):
    user_id: str
    username: str | None


class AnomalyQueries:
    def __init__(self, read_models: ReadModels, thresholds: Thresholds) -> None:
        self._read_models = read_models
        self._thresholds = thresholds.by_rule()

    async def newest(
        self,
        *,
        since: datetime | None,
        until: datetime | None,
        rules: Sequence[Rule],
        before: tuple[datetime, str] | None,
        limit: int,
    ) -> list[AnomalyRow]:
        """Returns the newest anomalies of these rules, older than `before` (time and id), newest first.

        Raises:
            ReadModelBehind: the read model has not been built yet.
            Unavailable: the database does not answer, or not in time.
        """
        params = {
            **self._thresholds,
            "since": since or "-infinity",
            "until": until or "infinity",
            "rules": list(rules),
            "before_at": before[0] if before else "infinity",
            "before_id": before[1] if before else "",
            "limit": limit,
        }
        return await self._read_models.select(_MODEL, AnomalyRow, _NEWEST, params)

    async def counts(self, since: datetime) -> dict[Rule, int]:
        """Returns the number of anomalies by rule whose last event is not before `since`.

        Raises: as `newest` does.
        """
        rows = await self._read_models.select(_MODEL, _Count, _COUNTS, {**self._thresholds, "since": since})
        return dict.fromkeys(RULES, 0) | {row.rule: row.count for row in rows}

    async def with_usernames(self, rows: Sequence[AnomalyRow]) -> list[Anomaly]:
        """The anomalies with the names of their accounts, as far as these can be read."""
        user_ids = sorted({row.user_id for row in rows if row.user_id is not None})
        names: dict[str, str | None] = {}
        if user_ids:
            try:
                usernames = await self._read_models.select("users", _Username, _USERNAMES, {"user_ids": user_ids})
                names = {row.user_id: row.username for row in usernames}
            except (ReadModelBehind, Unavailable):
                pass
        return [_anomaly(row, names.get(row.user_id or "")) for row in rows]


def _anomaly(row: AnomalyRow, username: str | None) -> Anomaly:
    fields = msgspec.structs.asdict(row)
    del fields["id"]
    return Anomaly(username=username, **fields)
