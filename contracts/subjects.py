"""Streams and subjects: one stream per service, one literal subject per aggregate.

The event type is not part of the subject: on a cluster only a condition on a literal subject is safe, and an
aggregate's condition must cover all of its events (docs/decisions).
"""

from collections.abc import Mapping

import msgspec

from contracts.services import GATEWAY, REGISTRY
from contracts.services import OPERATOR as OPERATOR_SERVICE

AUTH = "AUTH"
SESSION = "SESSION"
PROFILE = "PROFILE"
CONTACT = "CONTACT"
MESSAGING = "MESSAGING"
OPERATOR = "OPERATOR"
NOTARY = "NOTARY"

# The owning service of each stream; only the owner appends.
STREAMS: dict[str, str] = {service.name.upper(): service.name for service in REGISTRY.values() if service.stream}

# The character that names each stream in positions.
STREAM_CODES: dict[str, str] = {
    service.name.upper(): service.stream.code for service in REGISTRY.values() if service.stream
}

# What services other than the owner may read: one filter per stream. Projections read these streams, and clients'
# positions refer to them.
PUBLIC_FILTERS: dict[str, str] = {
    service.name.upper(): service.stream.public
    for service in REGISTRY.values()
    if service.stream and service.stream.public
}

# The streams whose events the notary signs: all but its own.
NOTARIZED = tuple(stream for stream in STREAMS if stream != NOTARY)

# The parts of the private stream OPERATOR that every service with read models reads: the events that its read models
# skip, and where they begin.
DEAD_LETTERS_FILTER = "vestnik.operator.dead_letter.>"
PROJECTION_BEGINS_FILTER = "vestnik.operator.projection_begin.>"
OPERATOR_FILTERS = (DEAD_LETTERS_FILTER, PROJECTION_BEGINS_FILTER)

# Not an event stream, and not in STREAMS: gateways share their rate-limit counts through it. Nothing is projected from
# it, and its loss loses no data.
LIMITS = "LIMITS"
LIMITS_FILTER = "vestnik.limits.*"


def limit_uses(limit: str) -> str:
    """The subject for the uses of one rate limit."""
    return f"vestnik.limits.{limit}"


# Not an event stream either: in a cluster each process appends to it to check that its NATS node is part of a quorum.
QUORUM = "QUORUM"
QUORUM_FILTER = "vestnik.quorum.>"


def quorum_of(party: str, process_id: str) -> str:
    """The subject that one process of a party appends to."""
    return f"vestnik.quorum.{party}.{process_id}"


# Plain messages from gateway to gateway; no stream has these subjects, so nothing stores them.
LIVE_FILTER = "vestnik.live.*"
LIVE_TYPING = "vestnik.live.typing"
LIVE_DRAFT = "vestnik.live.draft"
LIVE_PRESENCE = "vestnik.live.presence"
LIVE_WATCHES = "vestnik.live.watches"


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A JetStream key-value bucket: one value per key. Its loss loses no event."""

    # The only party that writes it, and reads it besides `readers`; of parked events the operators do so too.
    owner: str
    # How long a value is kept after it was written; 0: without end.
    hours: int
    description: str
    # At this size the oldest values are dropped first; -1: unbounded.
    most_bytes: int = -1
    # At this number a new key is refused; -1: unbounded.
    most_keys: int = -1
    # Whether the values are keys of sealed data: none expires, and the owner can delete one so that its bytes are
    # overwritten. The loss of such a value makes data unreadable.
    holds_keys: bool = False
    # Other parties that read it.
    readers: tuple[str, ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether a value stays until it is replaced, or until a lifetime of its own ends."""
        return self.hours == 0

    @property
    def has_lifetimes(self) -> bool:
        """Whether a message can have a lifetime of its own: a kept value, or a deletion, which counts as a key."""
        return not self.holds_keys and (self.is_kept or self.most_keys > 0)


# When each user was last online, by user id.
LAST_SEEN = "last_seen"
# What users have begun to write and not sent: `<user_id>.<conversation_id>.sealed`; plain, as releases until 0.3 wrote
# it, `<user_id>.<conversation_id>`.
DRAFTS = "drafts"
# Files with all data of a user, encrypted and in parts: `<file_id>.<number>`.
DATA_EXPORTS = "data_exports"

# The keys of personal data, by key id (contracts/personal_data/key_ids.py), each wrapped by another key.
DATA_KEYS = "data_keys"
# The services that read personal data, besides the owner of its keys.
KEY_READERS = (
    "session",
    "profile",
    "contact",
    "messaging",
    OPERATOR_SERVICE,
    GATEWAY,
)

# The services with reactions (contracts/durable_consumers.py).
REACTING_SERVICES = ("auth", "profile")


def parked_by(service: str) -> str:
    """The bucket of the events that the service's reactions have parked: `<reaction>.<sequence>`."""
    return f"parked_{service}"


# By name. Neither exported nor backed up.
BUCKETS: Mapping[str, Bucket] = {
    LAST_SEEN: Bucket(owner=GATEWAY, hours=90 * 24, description="When each user was last online"),
    DRAFTS: Bucket(
        owner="messaging", hours=30 * 24, description="What users have begun to write", most_bytes=256 * 1024**2
    ),
    DATA_KEYS: Bucket(
        owner="auth",
        hours=0,
        description="Wrapped keys of personal data",
        holds_keys=True,
        readers=KEY_READERS,
    ),
    # A file is made within 3 hours, and can be downloaded for a day then. With parts of 256 KiB all files have 2 GiB.
    DATA_EXPORTS: Bucket(owner="auth", hours=27, description="Copies of their data for users", most_keys=8_192),
    **{
        parked_by(service): Bucket(
            owner=service,
            hours=0,
            description=f"Events that reactions of {service} have parked",
            most_keys=100_000,
        )
        for service in REACTING_SERVICES
    },
}


def stream_of_bucket(bucket: str) -> str:
    """The stream that holds the bucket's values."""
    return f"KV_{bucket}"


def key_of(bucket: str, key: str) -> str:
    """The subject of a key's value; `>` as the key: of all values."""
    return f"$KV.{bucket}.{key}"


def is_public(subject: str) -> bool:
    """Whether services other than the stream's owner may read the subject."""
    shared = PUBLIC_FILTERS.get(stream_of(subject), "")
    if shared.endswith(".>"):
        return subject.startswith(shared[:-1])
    return bool(shared) and subject.rpartition(".")[0] == shared.removesuffix(".*")


def all_of(stream: str) -> str:
    """The filter that matches every subject of the stream."""
    return f"vestnik.{STREAMS[stream]}.>"


def stream_of(subject: str) -> str:
    """The stream that contains the subject."""
    return subject.split(".", 2)[1].upper()


def passes(subject: str, subject_filter: str) -> bool:
    """Whether the subject matches a filter: `*` matches one token, a trailing `>` one or more."""
    parts, filter_parts = subject.split("."), subject_filter.split(".")
    if filter_parts[-1] == ">":
        filter_parts.pop()
        if len(parts) <= len(filter_parts):
            return False
    elif len(parts) != len(filter_parts):
        return False
    return all(want in ("*", part) for part, want in zip(parts, filter_parts, strict=False))


# The subject of each kind of aggregate.


def user(user_id: str) -> str:
    return f"vestnik.auth.user.{user_id}"


def credential(user_id: str) -> str:
    """Private: the password's hash; the last event contains the whole state."""
    return f"vestnik.auth.credential.{user_id}"


def email_claim(key: str) -> str:
    """Private: the owner of an e-mail address and its pending registrations; `key` is the address's HMAC in hex."""
    return f"vestnik.auth.email.{key}"


def username_claim(key: str) -> str:
    """Private: the owner of a username; `key` is the name's HMAC in hex."""
    return f"vestnik.auth.username.{key}"


def mail(key: str) -> str:
    """Private: which mails went out to a mailbox; `key` is its HMAC in hex. In the older form: to a user, by id."""
    return f"vestnik.auth.mail.{key}"


def login_failures(user_id: str) -> str:
    """Private: failed logins to one account; `unknown` instead of a user's id: to logins that no account has."""
    return f"vestnik.auth.login_failures.{user_id}"


def second_factor(user_id: str) -> str:
    """Private: a user's authenticator app and recovery codes; the last event contains the whole state."""
    return f"vestnik.auth.second_factor.{user_id}"


def data_export(user_id: str) -> str:
    """Private: the copies of their data that a user requested."""
    return f"vestnik.auth.data_export.{user_id}"


def data_keys(user_id: str) -> str:
    """Private: which keys of a person's data exist, and which were destroyed; not the keys."""
    return f"vestnik.auth.data_keys.{user_id}"


def session(session_id: str) -> str:
    return f"vestnik.session.session.{session_id}"


def alerts(user_id: str) -> str:
    """The alerts that the owner of an account received; the last event contains the whole state."""
    return f"vestnik.session.alerts.{user_id}"


def profile(user_id: str) -> str:
    return f"vestnik.profile.profile.{user_id}"


def friendship(pair_id: str) -> str:
    return f"vestnik.contact.friendship.{pair_id}"


def report(report_id: str) -> str:
    """Private: one user's report of another, with copies of messages."""
    return f"vestnik.contact.report.{report_id}"


def conversation(conversation_id: str) -> str:
    return f"vestnik.messaging.conversation.{conversation_id}"


def message(message_id: str) -> str:
    """What happened to one message after it was sent: edits, its deletion, reactions."""
    return f"vestnik.messaging.message.{message_id}"


def read_mark(conversation_id: str, user_id: str) -> str:
    """How far one of the two has seen a conversation."""
    return f"vestnik.messaging.read.{conversation_id}.{user_id}"


def settings(conversation_id: str, user_id: str) -> str:
    """How one reader has set a conversation: muted, pinned, archived."""
    return f"vestnik.messaging.settings.{conversation_id}.{user_id}"


def notifications(user_id: str) -> str:
    """Which notifications a user has read."""
    return f"vestnik.messaging.notifications.{user_id}"


def dead_letter(projection: str, version: int | str, stream: str, sequence: int | str) -> str:
    """Private: operators' decisions on an event that a version of a projection could not apply. Services that have
    read models read it too."""
    return f"vestnik.operator.dead_letter.{projection}.{version}.{stream}.{sequence}"


def projection_begin(service: str, projection: str, version: int | str) -> str:
    """Private: where a version of a projection begins; appended by the service that runs it, and read by all services
    that have read models."""
    return f"vestnik.operator.projection_begin.{service}.{projection}.{version}"


def operator_action(action_id: str) -> str:
    """Private: one act of an operator, or one look."""
    return f"vestnik.operator.action.{action_id}"


def tree_head(stream: str) -> str:
    """Private: the signed heads of a stream's trees, and the ends of these trees."""
    return f"vestnik.notary.head.{stream}"


def lost_in(stream: str) -> str:
    """The placeholders for events that the stream has lost; private if only its owner may read the subject."""
    return f"vestnik.{STREAMS[stream]}.lost"
