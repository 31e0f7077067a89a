"""Table: everything an operator can do, and everything they can look at, as events name it."""

from collections.abc import Mapping
from typing import Literal

Channel = Literal["page", "command_line"]
# How an act ended.
Outcome = Literal["done", "failed", "cancelled"]

# By name: what it is, for people.
ACTIONS: Mapping[str, str] = {
    "accounts.erase": "erases an account and its personal data",
    "accounts.reset_totp": "turns off the two-step verification of an account",
    "archive.export": "writes all streams to a file",
    "archive.import": "restores all streams from a file",
    "audit.verify": "compares every event of the streams with the signed heads",
    "dead_letter.discard": "discards an event that a read model could not apply",
    "dead_letter.retry": "retries events that a read model could not apply",
    "deployment.secrets": "makes the secrets of a deployment",
    "hold.place": "keeps a person's data from erasure and retention",
    "hold.release": "lets a person's data be erased again",
    "keys.accept_loss": "declares a lost key of personal data destroyed",
    "keys.back_up": "writes the keys of personal data to a file",
    "keys.restore": "restores the keys of personal data from a file",
    "keys.rewrap": "wraps the keys of personal data with the current master key",
    "keys.rotate": "replaces the key of access tokens",
    "keys.rotate_notary": "replaces the key of the notary",
    "keys.rotate_personal_data": "replaces the master key of personal data",
    "keys.rotate_positions": "replaces the key of clients' positions",
    "keys.rotate_services": "replaces the keys of the services",
    "keys.rotate_totp": "replaces the key that seals the secrets of authenticator apps",
    "maintenance.cancel": "cancels a running verification or rebuild",
    "nats.accounts": "prints the accounts of a NATS server, with their passwords",
    "operators.add": "lets an account open the operators' page",
    "operators.remove": "closes the operators' page to an account",
    "postgres.logins": "prints the logins of a PostgreSQL server, with their passwords",
    "read_model.back": "goes back to a read model's previous build",
    "read_model.drop_old": "drops builds of a read model that are no longer in use",
    "read_model.pause": "stops applying events to a read model",
    "read_model.rebuild": "rebuilds a read model",
    "read_model.reset": "applies a read model's events again from where it begins",
    "read_model.resume": "goes on applying events to a read model",
    "read_model.skip": "passes over the event that a read model stops at",
    "read_model.verify": "compares a read model with the streams",
    "report.settle": "decides on a report",
    "sessions.revoke": "ends sessions of a user",
    "stream.accept_loss": "accepts that events are lost for good",
    "streams.create": "creates the streams, or changes their settings",
    "streams.restored": "records that the streams were restored from a copy",
    "streams.verify": "reads and checks every event of the streams",
}

LOOKS: Mapping[str, str] = {
    "aggregate": "an aggregate: its events, and its state after each",
    "anomalies": "what the rules of anomalies have found",
    "as_of": "read models as of an earlier time",
    "dead_letter": "an event that a read model could not apply",
    "events": "events of the streams",
    "holds": "the persons whose data is kept from erasure, and why",
    "operators": "who did and saw what as an operator",
    "person": "a person's account, profile and counts",
    "proof": "an event, with a proof of it",
    "report": "the texts of a report",
    "reports": "the list of reports",
    "rows": "the rows of a read model",
    "sessions": "who logged in, and how sessions ended",
    "trace": "an event's state in each read model",
}
