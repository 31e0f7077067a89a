"""The facts from which anomalies are found: which networks an account logs in from, and when its password changed.

An anomaly is a query over these rows (infra/history/anomalies.py), so that its thresholds can change without a rebuild.
Each row takes the smallest or the sum of what its events hold: rows do not depend on the order of events.
"""

from contracts.envelope import Recorded
from contracts.events.session import SessionCreated
from contracts.events.user import PasswordChanged
from contracts.services import OPERATOR
from contracts.subjects import AUTH, SESSION
from contracts.values.addresses import parse_network
from contracts.values.personal_data import plaintext_or_none
from projections.engine import Projection, RowChanges, handles

# Bits of an address that name its network, as in a recorded prefix.
_NETWORK_BITS = {4: 24, 6: 48}


class Anomalies(Projection):
    """A network is a /24 of IPv4 or a /48 of IPv6. Addresses that are sealed, absent or invalid leave no row."""

    version = 1
    service = OPERATOR
    streams = (AUTH, SESSION)
    # Anomalies are counted over hours.
    rest_seconds = 0.5
    tables = """
        CREATE TABLE {networks} (
            user_id uuid,
            network text,
            -- of the first login from there
            first_at timestamptz NOT NULL,
            PRIMARY KEY (user_id, network)
        );
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

    @handles(SessionCreated)
    def logged_in(self, event: Recorded[SessionCreated], write: RowChanges) -> None:
        network = _network(plaintext_or_none(event.data.address))
        if network is not None:
            write.upsert(
                "networks",
                key={"user_id": event.data.user_id, "network": network},
                least={"first_at": event.at},
            )

    @handles(PasswordChanged)
    def password_changed(self, event: Recorded[PasswordChanged], write: RowChanges) -> None:
        write.insert(
            "password_changes",
            key={"user_id": event.aggregate_id, "sequence": event.sequence},
            set={"at": event.at, "reason": event.data.reason},
        )


def _network(address: str | None) -> str | None:
    """The network of a recorded address, or the recorded network; None if it is neither."""
    network = parse_network(address or "")
    if network is None:
        return None
    return str(network.supernet(new_prefix=min(network.prefixlen, _NETWORK_BITS[network.version])))
