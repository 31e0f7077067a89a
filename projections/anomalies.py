"""Facts from which anomalies are found: failed logins, looks and exports per hour, networks, password changes.

An anomaly is a query over these rows (services/operator/anomalies), so that a threshold can change without a rebuild.
Rows hold sums, and the least and greatest of their events: they depend neither on the order of the events nor on the
clock's. There are fewer of them than events. Rows with networks end where the origins of logins have a term: with the
month in which that ends, so that all events of a row end with it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network
from typing import ClassVar

from contracts.envelope import Recorded
from contracts.events.login_failure import LoginFailed
from contracts.events.operator import OperatorActed, OperatorLooked
from contracts.events.session import SessionCreated
from contracts.events.user import PasswordChanged
from contracts.services import OPERATOR as OPERATOR_SERVICE
from contracts.subjects import AUTH, OPERATOR, SESSION
from contracts.values.addresses import Network, parse_network
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
NO_USER = "00000000-0000-0000-0000-000000000000"
LOOK, EXPORT = "look", "export"
# A step of a login that may yet succeed.
_NO_FAILURE = "code_required"
_EXPORT_ACTION = "archive.export"
# Bits of an address that name its network, as in a recorded prefix.
_NETWORK_BITS = {4: 24, 6: 48}
# Bits of an IPv6 address that count as one address: a household has at least a /64.
_IPV6_ADDRESS_BITS = 64


class Anomalies(ErasingProjection):
    """An hour is a clock hour (UTC). Addresses that are sealed, absent or invalid leave no row."""

    version = 4
    expires: ClassVar[Mapping[str, str]] = {"address_hours": "ends_at", "networks": "ends_at"}
    service = OPERATOR_SERVICE
    streams = (AUTH, SESSION, OPERATOR)
    # Anomalies are counted over hours.
    rest_seconds = 0.5
    tables = (
        """
        CREATE TABLE {account_hours} (
            hour timestamptz,
            user_id uuid,
            failures bigint NOT NULL,
            first_at timestamptz NOT NULL,
            last_at timestamptz NOT NULL,
            PRIMARY KEY (hour, user_id)
        );
        CREATE INDEX ON {account_hours} (last_at, failures);
        CREATE TABLE {address_hours} (
            hour timestamptz,
            -- an address of IPv4, a /64 of IPv6, or the network that was recorded
            address text,
            -- whose account the logins were for, so that the address goes with the user; zeros: of none
            user_id uuid,
            -- in which the term of the address ends, `YYYY-MM`; empty: none
            month text,
            failures bigint NOT NULL,
            first_at timestamptz NOT NULL,
            last_at timestamptz NOT NULL,
            -- the end of the month
            ends_at timestamptz,
            PRIMARY KEY (hour, address, user_id, month)
        );
        CREATE INDEX ON {address_hours} (user_id);
        CREATE INDEX ON {address_hours} (ends_at) WHERE ends_at IS NOT NULL;
        CREATE TABLE {operator_hours} (
            hour timestamptz,
            -- `look` or `export`
            kind text,
            -- the account's id, or `operator:` and the login name on the machine
            operator text,
            -- the username or login name; empty: sealed
            name text,
            events bigint NOT NULL,
            first_at timestamptz NOT NULL,
            last_at timestamptz NOT NULL,
            PRIMARY KEY (hour, kind, operator, name)
        );
        CREATE INDEX ON {operator_hours} (last_at);
        CREATE TABLE {networks} (
            user_id uuid,
            -- /24 of IPv4, /48 of IPv6
            network text,
            -- as above
            month text,
            -- of the first login from there, of those that end in the month
            first_at timestamptz NOT NULL,
            ends_at timestamptz,
            PRIMARY KEY (user_id, network, month)
        );
        CREATE INDEX ON {networks} (ends_at) WHERE ends_at IS NOT NULL;
        CREATE INDEX ON {networks} (first_at);
        CREATE TABLE {password_changes} (
            user_id uuid,
            sequence bigint,
            at timestamptz NOT NULL,
            -- `password_changed` or `password_reset`
            reason text NOT NULL,
            PRIMARY KEY (user_id, sequence)
        );
        CREATE INDEX ON {password_changes} (at);
        """
        + ERASED_USERS
    )
    erasures = (
        "DELETE FROM {address_hours} WHERE user_id = ANY(%(users)s)",
        "DELETE FROM {networks} WHERE user_id = ANY(%(users)s)",
        """
        WITH named AS (
            DELETE FROM {operator_hours} WHERE operator = ANY(%(users)s::text[]) AND name <> '' RETURNING *
        )
        INSERT INTO {operator_hours} AS h (hour, kind, operator, name, events, first_at, last_at)
        SELECT hour, kind, operator, '', sum(events), min(first_at), max(last_at)
        FROM named GROUP BY hour, kind, operator
        ON CONFLICT (hour, kind, operator, name) DO UPDATE SET events = h.events + EXCLUDED.events,
            first_at = least(h.first_at, EXCLUDED.first_at), last_at = greatest(h.last_at, EXCLUDED.last_at)
        """,
    )

    @handles(LoginFailed)
    def login_failed(self, event: Recorded[LoginFailed], write: RowChanges) -> None:
        data = event.data
        if data.reason == _NO_FAILURE:
            return
        # The counts of an hour may be recorded at the beginning of the next.
        first = data.since or event.at
        if data.user_id is not None:
            _count(write, "account_hours", {"user_id": data.user_id}, first, event.at, failures=data.count)
        address = _address(data.address)
        if address is not None:
            month, ends_at = _month(data.origin_until)
            key = {"address": address, "user_id": data.user_id or NO_USER, "month": month}
            _count(write, "address_hours", key, first, event.at, ends={"ends_at": ends_at}, failures=data.count)

    @handles(OperatorLooked)
    def looked(self, event: Recorded[OperatorLooked], write: RowChanges) -> None:
        _count_operator(write, event, LOOK)

    @handles(OperatorActed)
    def acted(self, event: Recorded[OperatorActed], write: RowChanges) -> None:
        if event.data.action == _EXPORT_ACTION:
            _count_operator(write, event, EXPORT)

    @handles(SessionCreated)
    def logged_in(self, event: Recorded[SessionCreated], write: RowChanges) -> None:
        network = parse_network(event.data.address)
        if network is not None:
            month, ends_at = _month(event.data.origin_until)
            cut = _cut(network, _NETWORK_BITS[network.version])
            write.upsert(
                "networks",
                key={"user_id": event.data.user_id, "network": cut, "month": month},
                set={"ends_at": ends_at},
                least={"first_at": event.at},
            )

    @handles(PasswordChanged)
    def password_changed(self, event: Recorded[PasswordChanged], write: RowChanges) -> None:
        write.insert(
            "password_changes",
            key={"user_id": event.aggregate_id, "sequence": event.sequence},
            set={"at": event.at, "reason": event.data.reason},
        )


def _count_operator(write: RowChanges, event: Recorded[OperatorLooked] | Recorded[OperatorActed], kind: str) -> None:
    name = event.data.operator
    operator = event.data.operator_id or f"operator:{name}"
    _count(write, "operator_hours", {"kind": kind, "operator": operator, "name": name}, event.at, event.at, events=1)


def _month(until: datetime | None) -> tuple[str, datetime | None]:
    """The month (UTC, `YYYY-MM`) in which a term ends, and the end of that month; empty and None without a term."""
    if until is None:
        return "", None
    begin = until.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return f"{begin:%Y-%m}", (begin + timedelta(days=32)).replace(day=1)


def _count(
    write: RowChanges,
    table: str,
    key: dict[str, str],
    first: datetime,
    last: datetime,
    *,
    ends: dict[str, datetime | None] | None = None,
    **counts: int,
) -> None:
    write.upsert(
        table,
        key={"hour": _EPOCH + (first - _EPOCH) // _HOUR * _HOUR, **key},
        set=ends,
        add=counts,
        least={"first_at": first},
        greatest={"last_at": last},
    )


def _address(text: str | None) -> str | None:
    """The address that failures are counted under; None if it is none of IP."""
    network = parse_network(text or "")
    if network is None:
        return None
    if isinstance(network, IPv6Network):
        return _cut(network, _IPV6_ADDRESS_BITS)
    return str(network).removesuffix("/32")


def _cut(network: Network, bits: int) -> str:
    return str(network.supernet(new_prefix=min(network.prefixlen, bits)))
