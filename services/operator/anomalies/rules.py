"""The rules of anomalies, and an anomaly: what happened, to whom or by whom, and how often. No scores."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Self, get_args

import msgspec

from infra.settings import Settings

Rule = Literal["account_failures", "address_failures", "new_network", "operator_exports", "operator_looks"]
RULES: tuple[Rule, ...] = get_args(Rule)


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of events per clock hour from which the hour is an anomaly; 0: never."""

    account_failures: int
    address_failures: int
    operator_exports: int
    operator_looks: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            account_failures=settings.anomaly_account_failures,
            address_failures=settings.anomaly_address_failures,
            operator_exports=settings.anomaly_operator_exports,
            operator_looks=settings.anomaly_operator_looks,
        )

    def by_rule(self) -> Mapping[str, int]:
        return msgspec.structs.asdict(self)


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of a rule."""

    # Time of the last of its events, and of the first.
    at: datetime
    rule: Rule
    since: datetime
    # The account that it is about; None: it is about no account.
    user_id: str | None
    # The name of that account; None also if it is unknown.
    username: str | None
    # Where the failures came from: an address, or a network; of a login its network.
    address: str | None
    # Who looked or exported: a username, or the login name on the machine.
    operator: str | None
    # The operator's account; None on the command line.
    operator_id: str | None
    # Number of failures, looks or exports.
    count: int
    # How the password was changed: `password_changed` or `password_reset`.
    reason: str | None
