"""NATS permissions: one account with one user per party, and one account without users that holds the streams.

Subject permissions alone are not enough. The server sends a reply to any reply subject that the request names, without
a permission check. In an account shared with the streams, a service could have a reply stored in another service's
stream, or delivered to the API as a command that deletes one. So the streams' account has no users. Each party has its
own account that imports exactly what it may request; a reply returns to that account and can reach nothing there that
its owner could not reach anyway.
"""

from collections.abc import Iterator, Mapping

import msgspec

from contracts.durable_consumers import DURABLES, Durable, retries_of
from contracts.services import GATEWAY, NOTARY, OPERATOR, SERVICES
from contracts.subjects import (
    BUCKETS,
    LIMITS,
    LIMITS_FILTER,
    LIVE_FILTER,
    OPERATOR_FILTERS,
    PUBLIC_FILTERS,
    QUORUM,
    QUORUM_FILTER,
    REACTING_SERVICES,
    STREAMS,
    all_of,
    key_of,
    parked_by,
    projection_begin,
    quorum_of,
    stream_of_bucket,
)
from contracts.subjects import OPERATOR as OPERATOR_STREAM
from infra.security.secrets import NATS_PARTIES, TOPOLOGY

# The account that holds the streams. It has no user.
STORE = "STORE"
NOTICES = "vestnik.projections.>"
_API = "$JS.API"
# Imported by every account: otherwise the server gives the account a JetStream API of its own, without any streams.
_INFO = f"{_API}.INFO"
_CONSUMERS = (*DURABLES, *map(retries_of, DURABLES))


class Rights(msgspec.Struct, frozen=True):
    """The permissions of one party."""

    # Subjects of the streams' account that it may publish to: appends, API requests, acknowledgements.
    imports: list[str]
    # Exceptions to the imports: subjects that belong to one other party by name.
    denied: list[str]
    # Whether it receives and sends notices about read models.
    receives_notices: bool = False
    sends_notices: bool = False
    # Subjects of its own account, on which its processes send messages to each other.
    shared: tuple[str, ...] = ()

    def user(self, party: str, password: str) -> dict[str, object]:
        """The user's entry in the server's configuration."""
        publish: dict[str, list[str]] = {
            "allow": [*self.imports, *self.shared, *([NOTICES] if self.sends_notices else [])]
        }
        if self.denied:
            publish["deny"] = self.denied
        notices = [NOTICES] if self.receives_notices else []
        subscribe = {"allow": [f"{inbox_of(party)}.>", *self.shared, *notices]}
        return {"user": party, "password": password, "permissions": {"publish": publish, "subscribe": subscribe}}


def accounts(passwords: Mapping[str, str], limits: Mapping[str, int] | None = None) -> dict[str, object]:
    """The `accounts` block of a server's configuration. `limits`: of the streams' account; None: without."""
    values = [key_of(bucket, ">") for bucket in BUCKETS]
    exports = [f"{_API}.>", "$JS.ACK.>", *map(all_of, STREAMS), LIMITS_FILTER, QUORUM_FILTER, *values]
    config: dict[str, object] = {
        STORE: {
            "jetstream": limits or "enabled",
            # A request for messages has many replies.
            "exports": [{"service": subject, "response_type": "stream"} for subject in exports],
        }
    }
    for party in NATS_PARTIES:
        rights = permissions_of(party)
        imports: list[object] = [{"service": {"account": STORE, "subject": subject}} for subject in rights.imports]
        if rights.receives_notices and party != OPERATOR:
            # Notices of read models that the operator has rebuilt.
            imports.append({"stream": {"account": OPERATOR, "subject": NOTICES}})
        account: dict[str, object] = {"users": [rights.user(party, passwords[party])], "imports": imports}
        if party == OPERATOR:
            account["exports"] = [{"stream": NOTICES}]
        config[party] = account
    return config


def inbox_of(party: str) -> str:
    """The prefix of every subject on which the party receives replies."""
    return f"_INBOX_{party}"


def permissions_of(party: str) -> Rights:
    """The permissions of the party; `topology` creates the streams and does nothing else."""
    if party == TOPOLOGY:
        making = _each_stream(
            "STREAM.INFO", "STREAM.CREATE", "STREAM.UPDATE", also=(LIMITS, QUORUM, *map(stream_of_bucket, BUCKETS))
        )
        return Rights([_INFO, *making], [])
    others = [durable for durable in _CONSUMERS if durable.service != party]
    denied = [subject for durable in _CONSUMERS for subject in _deleting(durable)]
    denied += [subject for durable in others for subject in _using(durable)]
    if party == OPERATOR:
        listing = [_INFO, f"{_API}.STREAM.NAMES", f"{_API}.STREAM.LIST"]
        listing += _each_stream("CONSUMER.NAMES", "CONSUMER.LIST")
        listing += [f"{_API}.CONSUMER.INFO.{stream}.*" for stream in STREAMS]
        reading = [subject for stream in STREAMS for subject in _reading_all(stream)]
        own = [all_of(stream) for stream, owner in STREAMS.items() if owner == party]
        parked = [right for service in REACTING_SERVICES for right in _parked_access(parked_by(service))]
        imports = [*listing, *reading, *own, *parked, *_reading_buckets(party), *_evidence(party)]
        return Rights(imports, denied, receives_notices=True, sends_notices=True)
    imports = [_INFO, *_evidence(party)]
    if party == NOTARY:
        reading = [subject for stream in STREAMS for subject in _reading_all(stream)]
        own = [all_of(stream) for stream, owner in STREAMS.items() if owner == party]
        return Rights([*imports, *reading, *own], denied)
    for stream, owner in STREAMS.items():
        if owner == party:
            imports += [all_of(stream), *_reading_all(stream)]
        elif stream in PUBLIC_FILTERS:
            imports += _reading(stream, f"{_API}.CONSUMER.CREATE.{stream}.*.{PUBLIC_FILTERS[stream]}")
        elif stream == OPERATOR_STREAM and party in SERVICES:
            # The events that read models leave out, where they begin, and nothing else of OPERATOR.
            creating = [f"{_API}.CONSUMER.CREATE.{stream}.*.{shared}" for shared in OPERATOR_FILTERS]
            imports += [*_reading(stream, *creating), projection_begin(party, "*", "*")]
    own_durables = [f"{durable.stream}.{durable.name}" for durable in DURABLES if durable.service == party]
    imports += [f"$JS.ACK.{durable}.>" for durable in own_durables]
    imports += [f"{_API}.CONSUMER.INFO.{durable}" for durable in own_durables]
    if party == GATEWAY:
        imports += [LIMITS_FILTER, *_reading(LIMITS, f"{_API}.CONSUMER.CREATE.{LIMITS}.*.{LIMITS_FILTER}")]
    for bucket, settings in BUCKETS.items():
        if settings.owner == party:
            imports += [key_of(bucket, ">"), *_bucket_access(stream_of_bucket(bucket))]
            if settings.is_kept:
                imports.append(f"{_API}.STREAM.MSG.GET.{stream_of_bucket(bucket)}")
            if settings.holds_keys:
                imports.append(f"{_API}.STREAM.MSG.DELETE.{stream_of_bucket(bucket)}")
    imports += _reading_buckets(party)
    imports += [right for durable in DURABLES if durable.service == party for right in _retrying(durable)]
    serves = party in SERVICES
    shared = (LIVE_FILTER,) if party == GATEWAY else ()
    return Rights(imports, denied, receives_notices=serves, sends_notices=serves, shared=shared)


def _each_stream(*calls: str, also: tuple[str, ...] = ()) -> list[str]:
    return [f"{_API}.{call}.{stream}" for call in calls for stream in (*STREAMS, *also)]


def _evidence(party: str) -> list[str]:
    """In a cluster: the subjects with which a process checks whether its node is part of a quorum."""
    return [quorum_of(party, "*"), f"{_API}.STREAM.INFO.{QUORUM}"]


def _reading(stream: str, *creating: str) -> list[str]:
    return [
        f"{_API}.STREAM.INFO.{stream}",
        *creating,
        f"{_API}.CONSUMER.MSG.NEXT.{stream}.*",
        f"{_API}.CONSUMER.DELETE.{stream}.*",
    ]


def _reading_all(stream: str) -> list[str]:
    return [
        *_reading(stream, f"{_API}.CONSUMER.CREATE.{stream}.*", f"{_API}.CONSUMER.CREATE.{stream}.*.>"),
        f"{_API}.STREAM.MSG.GET.{stream}",
        f"{_API}.DIRECT.GET.{stream}",
        f"{_API}.DIRECT.GET.{stream}.>",
    ]


def _bucket_access(stream: str) -> list[str]:
    return [f"{_API}.STREAM.INFO.{stream}", f"{_API}.DIRECT.GET.{stream}"]


def _reading_buckets(party: str) -> list[str]:
    """Buckets of others that the party reads."""
    streams = [stream_of_bucket(bucket) for bucket, kept in BUCKETS.items() if party in kept.readers]
    return [f"{_API}.{call}.{stream}" for stream in streams for call in ("DIRECT.GET", "STREAM.MSG.GET")]


def _parked_access(bucket: str) -> list[str]:
    """The permissions of operators on parked events: to list them, and to have one retried or discarded."""
    stream = stream_of_bucket(bucket)
    return [
        key_of(bucket, ">"),
        *_bucket_access(stream),
        f"{_API}.DIRECT.GET.{stream}.>",
        f"{_API}.STREAM.MSG.GET.{stream}",
        f"{_API}.CONSUMER.INFO.{stream}.*",
    ]


def _retrying(durable: Durable) -> list[str]:
    retries = retries_of(durable)
    consumer = f"{retries.stream}.{retries.name}"
    return [
        f"{_API}.CONSUMER.CREATE.{consumer}.{retries.subject_filter}",
        f"{_API}.CONSUMER.INFO.{consumer}",
        f"{_API}.CONSUMER.MSG.NEXT.{consumer}",
        f"$JS.ACK.{consumer}.>",
    ]


def _deleting(durable: Durable) -> Iterator[str]:
    yield f"{_API}.CONSUMER.DELETE.{durable.stream}.{durable.name}"


def _using(durable: Durable) -> Iterator[str]:
    consumer = f"{durable.stream}.{durable.name}"
    yield f"{_API}.CONSUMER.CREATE.{consumer}"
    yield f"{_API}.CONSUMER.CREATE.{consumer}.>"
    yield f"{_API}.CONSUMER.MSG.NEXT.{consumer}"
