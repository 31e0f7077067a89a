"""Streams and subjects: one stream a service, one literal subject an aggregate.

The type of an event is not in the subject: on a cluster only a condition on a literal subject is safe, and an
aggregate's condition must cover all of its events (docs/decisions).
"""

AUTH = "AUTH"
SESSION = "SESSION"
PROFILE = "PROFILE"
CONTACT = "CONTACT"
MESSAGING = "MESSAGING"
OPERATOR = "OPERATOR"

# Each stream with the service that owns it: only the owner appends.
STREAMS: dict[str, str] = {
    AUTH: "auth",
    SESSION: "session",
    PROFILE: "profile",
    CONTACT: "contact",
    MESSAGING: "messaging",
    OPERATOR: "operator",
}

# What others than the owner may read of a stream: one filter each. Projections read these streams, and clients have
# positions in them.
PUBLIC_FILTERS: dict[str, str] = {
    AUTH: "vestnik.auth.user.*",
    SESSION: "vestnik.session.session.*",
    PROFILE: "vestnik.profile.profile.*",
    CONTACT: "vestnik.contact.friendship.*",
    MESSAGING: "vestnik.messaging.>",
}

# What every service reads of OPERATOR, which is private: the events that its read models leave out.
DEAD_LETTERS_FILTER = "vestnik.operator.dead_letter.>"

# No event stream, and not in STREAMS: what gateways tell each other of how often somebody has asked for something.
# Nothing is built from it and nothing is lost with it.
LIMITS = "LIMITS"
LIMITS_FILTER = "vestnik.limits.*"


def limit_uses(limit: str) -> str:
    """Uses of one rate limit."""
    return f"vestnik.limits.{limit}"


# No event stream either: each process appends to it in a cluster, to see whether its NATS node is part of a quorum.
QUORUM = "QUORUM"
QUORUM_FILTER = "vestnik.quorum.>"


def quorum_of(party: str, process_id: str) -> str:
    """Where one process of a party appends."""
    return f"vestnik.quorum.{party}.{process_id}"


def is_public(subject: str) -> bool:
    """Whether others than the owner of its stream may read what is on the subject."""
    shared = PUBLIC_FILTERS.get(stream_of(subject), "")
    if shared.endswith(".>"):
        return subject.startswith(shared[:-1])
    return bool(shared) and subject.rpartition(".")[0] == shared.removesuffix(".*")


def all_of(stream: str) -> str:
    """The pattern of every subject of the stream."""
    return f"vestnik.{STREAMS[stream]}.>"


def stream_of(subject: str) -> str:
    """The stream that a subject lies in."""
    return subject.split(".", 2)[1].upper()


def passes(subject: str, subject_filter: str) -> bool:
    """Whether the subject passes a filter, in which `*` is one part and a `>` at the end one or more."""
    parts, wanted = subject.split("."), subject_filter.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(parts) <= len(wanted):
            return False
    elif len(parts) != len(wanted):
        return False
    return all(want in ("*", part) for part, want in zip(parts, wanted, strict=False))


def user(user_id: str) -> str:
    return f"vestnik.auth.user.{user_id}"


def credential(user_id: str) -> str:
    """Private: the password's hash; its last event says everything."""
    return f"vestnik.auth.credential.{user_id}"


def email_claim(key: str) -> str:
    """Private: who owns an e-mail address, and what is pending on it; `key` is the address's HMAC in hex."""
    return f"vestnik.auth.email.{key}"


def username_claim(key: str) -> str:
    """Private: who holds a username; `key` is the name's HMAC in hex."""
    return f"vestnik.auth.username.{key}"


def mail(key: str) -> str:
    """Private: which mails went out to a mailbox; `key` is its HMAC in hex. In older releases: to a user, by id."""
    return f"vestnik.auth.mail.{key}"


def session(session_id: str) -> str:
    return f"vestnik.session.session.{session_id}"


def profile(user_id: str) -> str:
    return f"vestnik.profile.profile.{user_id}"


def friendship(pair_id: str) -> str:
    return f"vestnik.contact.friendship.{pair_id}"


def conversation(conversation_id: str) -> str:
    return f"vestnik.messaging.conversation.{conversation_id}"


def read_mark(conversation_id: str, user_id: str) -> str:
    """How far one of the two has seen a conversation."""
    return f"vestnik.messaging.read.{conversation_id}.{user_id}"


def notifications(user_id: str) -> str:
    """Which notifications a user has read."""
    return f"vestnik.messaging.notifications.{user_id}"


def dead_letter(projection: str, version: int | str, stream: str, sequence: int | str) -> str:
    """Private: what operators decided on an event that a version of a projection could not apply. Every service that
    keeps read models reads it too."""
    return f"vestnik.operator.dead_letter.{projection}.{version}.{stream}.{sequence}"


def lost_in_auth() -> str:
    """Private: the places of events that AUTH has lost."""
    return "vestnik.auth.lost"


def lost_in_session() -> str:
    """Private: the places of events that SESSION has lost."""
    return "vestnik.session.lost"


def lost_in_profile() -> str:
    """Private: the places of events that PROFILE has lost."""
    return "vestnik.profile.lost"


def lost_in_contact() -> str:
    """Private: the places of events that CONTACT has lost."""
    return "vestnik.contact.lost"


def lost_in_messaging() -> str:
    """The places of events that MESSAGING has lost."""
    return "vestnik.messaging.lost"


def lost_in_operator() -> str:
    """Private: the places of events that OPERATOR has lost."""
    return "vestnik.operator.lost"
