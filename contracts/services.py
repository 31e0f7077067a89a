"""Registry of the services, from which everything that lists services takes its list.

Supervisor, command line, settings, gRPC servers and clients, permissions of NATS and PostgreSQL, status, readiness,
generated pages and tests read it. The process of a service is `services/<name>/main.py`, its gRPC service
`vestnik.<name>.v1`, its stream `<NAME>` with the subjects `vestnik.<name>.>`, its database schema `vestnik_<name>`.

It also says who may call which method, and in whose name. A service token names the service that calls and, where it
acts for a user, the user. The gateway knows its users by their access tokens, auth by their passwords; all others only
pass the user on. So a service that was broken into can act for those who are using it just then, and for no one else.
Auth is the exception: it begins sessions, so it could act for every user anyway, and it reads users' data to make the
copies that they request (docs/decisions/0138).
"""

from collections.abc import Mapping

import msgspec

# By calling service: the field of the request that holds the user whom the token must name. None: the call is made in
# no user's name (before a login), or it asks about another user.
Callers = Mapping[str, str | None]

GATEWAY = "gateway"
OPERATOR = "operator"
NOTARY = "notary"
LOOPBACK = "127.0.0.1"
# Offset from a process's own port to its metrics port, if no address is configured.
BESIDE = 1_000

_FOR_USER: Callers = {GATEWAY: "user_id"}
_FOR_NOBODY: Callers = {GATEWAY: None}
# What a user may read, and what the copy of their data contains.
_OWN_DATA: Callers = {GATEWAY: "user_id", "auth": "user_id"}


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """The stream of a service; only its owner appends to it."""

    # One character that names the stream in positions. Clients hold positions, so a stream's code never changes, and no
    # other stream gets it.
    code: str
    # The subjects that other services may read. Projections read these, and clients' positions refer to them. None: the
    # stream is private.
    public: str | None = None


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service. Replicas of it share everything but their addresses."""

    name: str
    # Where it listens by default, on the loopback address: gRPC; of the gateway HTTP.
    port: int
    # Where it also answers REST; 0: nowhere.
    rest_port: int = 0
    stream: Stream | None = None
    # The methods of its gRPC service, each with those who may call it; a method without a row is served to no one.
    methods: Mapping[str, Callers] = {}
    # Whether it keeps read models, in a database schema of its own.
    read_models: bool = True
    # The messenger works without it: it has one process, and with an empty address none.
    optional: bool = False


_SERVICES = (
    Service(
        name="auth",
        port=8081,
        stream=Stream(code="A", public="vestnik.auth.user.*"),
        methods={
            "Register": _FOR_NOBODY,
            "Login": _FOR_NOBODY,
            "VerifyEmail": _FOR_NOBODY,
            "GetRegistration": _FOR_NOBODY,
            "EndRegistration": _FOR_NOBODY,
            "ResendVerification": _FOR_NOBODY,
            "ChangePassword": _FOR_USER,
            "RequestPasswordReset": _FOR_NOBODY,
            "ResetPassword": _FOR_NOBODY,
            "BeginTotp": _FOR_USER,
            "ConfirmTotp": _FOR_USER,
            "EndTotp": _FOR_USER,
            # An operator may turn off the second factor of a user who lost it, and turn on none.
            "ResetTotp": {OPERATOR: None},
            "ReportNotMe": _FOR_NOBODY,
            "RequestEmailChange": _FOR_USER,
            "UndoEmailChange": _FOR_NOBODY,
            "DeleteAccount": _FOR_USER,
            "EraseAccount": {OPERATOR: None},
            # Contact asks whether there is such a user; it is shown no e-mail address.
            "GetUser": {GATEWAY: "user_id", "contact": None},
            "ListFailedLogins": _FOR_USER,
            # Of users in whose name the caller need not act: those whom it reports, or whose sessions end.
            "CreateDataKeys": dict.fromkeys(("session", "profile", "contact", "messaging", OPERATOR)),
            "PlaceHold": {OPERATOR: None},
            "ReleaseHold": {OPERATOR: None},
            "RequestDataExport": _FOR_USER,
            "ListDataExports": _FOR_USER,
            "OpenDataExport": _FOR_USER,
            "ReadDataExport": _FOR_USER,
        },
    ),
    Service(
        name="session",
        port=8082,
        stream=Stream(code="S", public="vestnik.session.>"),
        methods={
            "CreateSession": {"auth": "user_id"},
            "ValidateSession": _FOR_NOBODY,
            "RefreshSession": _FOR_NOBODY,
            "RevokeSession": {GATEWAY: "user_id", "auth": "user_id"},
            # A changed password ends that user's sessions; an operator may log out all users, and log in none.
            "EndSessions": {"auth": "user_id", OPERATOR: None},
            # Auth reacts to what happens to an account.
            "RecordAlert": {"auth": "user_id"},
            "ListHistory": _OWN_DATA,
            "ListSessions": _FOR_USER,
            "Backfill": _FOR_USER,
        },
    ),
    Service(
        name="profile",
        port=8083,
        rest_port=8084,
        stream=Stream(code="P", public="vestnik.profile.profile.*"),
        methods={
            "GetProfile": {GATEWAY: None, "auth": None},
            "GetOwnProfile": _OWN_DATA,
            "FindHidden": _FOR_NOBODY,
            "UpdateProfile": _FOR_USER,
            "SearchProfiles": _FOR_NOBODY,
            "Backfill": _FOR_NOBODY,
        },
    ),
    Service(
        name="contact",
        port=8085,
        stream=Stream(code="C", public="vestnik.contact.friendship.*"),
        methods={
            "AddFriend": _FOR_USER,
            "RemoveFriend": _FOR_USER,
            "GetFriends": _OWN_DATA,
            "IsFriend": {"messaging": "user_id", GATEWAY: "user_id"},
            "BlockUser": _FOR_USER,
            "UnblockUser": _FOR_USER,
            "ListBlocked": _OWN_DATA,
            "ReportUser": _FOR_USER,
            "ListFiledReports": {"auth": "user_id"},
            "ListReports": {OPERATOR: "operator_id"},
            "GetReport": {OPERATOR: "operator_id"},
            "SettleReport": {OPERATOR: "operator_id"},
            "Backfill": _FOR_USER,
        },
    ),
    Service(
        name="messaging",
        port=8086,
        stream=Stream(code="M", public="vestnik.messaging.>"),
        methods={
            "SendMessage": {GATEWAY: "sender_id"},
            "EditMessage": _FOR_USER,
            "DeleteMessage": _FOR_USER,
            "GetMessages": _OWN_DATA,
            "MarkSeen": _FOR_USER,
            "UpdateConversation": _FOR_USER,
            "React": _FOR_USER,
            "ListConversations": _OWN_DATA,
            "CountUnreadConversations": _FOR_USER,
            "ListMutes": _FOR_USER,
            "SearchMessages": _FOR_USER,
            "ListNotifications": _OWN_DATA,
            "MarkNotificationsRead": _FOR_USER,
            "CountUnreadNotifications": _FOR_USER,
            "Backfill": _FOR_USER,
            "BackfillNotifications": _FOR_USER,
            # For the messages of a report.
            "CopyMessages": {"contact": "user_id"},
            # For live events of several users; the gateway reads all messages in the stream anyway.
            "GetQuotes": _FOR_NOBODY,
            "DeleteDrafts": {"auth": "user_id"},
            # A time, which tells auth which months' keys it may destroy.
            "GetOldestMessage": {"auth": None},
            "ListClosedMessages": {"auth": "user_id"},
        },
    ),
    # Behind the page at /ops, with an operator's rights. It checks itself whether the user is an operator.
    Service(
        name=OPERATOR,
        port=8087,
        stream=Stream(code="O"),
        methods={
            "GetStatus": _FOR_USER,
            "GetRates": _FOR_USER,
            "ListEvents": _FOR_USER,
            "ListSessionEvents": _FOR_USER,
            "EndSession": _FOR_USER,
            "GetAggregate": _FOR_USER,
            "GetPerson": _FOR_USER,
            "TraceEvent": _FOR_USER,
            "ListDeadLetters": _FOR_USER,
            "GetDeadLetter": _FOR_USER,
            "RetryDeadLetter": _FOR_USER,
            "DiscardDeadLetter": _FOR_USER,
            "ListMaintenance": _FOR_USER,
            "StartMaintenance": _FOR_USER,
            "CancelMaintenance": _FOR_USER,
            "ControlProjection": _FOR_USER,
            "ListAnomalies": _FOR_USER,
            "ListReports": _FOR_USER,
            "GetReport": _FOR_USER,
            "SettleReport": _FOR_USER,
            "ListOperatorActions": _FOR_USER,
        },
        optional=True,
    ),
    # Reads every stream and signs what it has read. It decides nothing and stores nothing but that.
    Service(
        name=NOTARY,
        port=8088,
        stream=Stream(code="N"),
        methods={"LatestHeads": _FOR_NOBODY},
        read_models=False,
        optional=True,
    ),
    Service(name=GATEWAY, port=8080, read_models=False),
)

# The gRPC services of read models that clients are shown (services/<service>/reads), each with those who may call its
# methods, `GetRow` and `ListRows`.
READS: Mapping[str, Callers] = {}

REGISTRY: Mapping[str, Service] = {service.name: service for service in _SERVICES}
# The services that keep read models.
SERVICES = tuple(service.name for service in REGISTRY.values() if service.read_models)
# The services that answer gRPC.
RPC_SERVICES = tuple(service.name for service in REGISTRY.values() if service.methods)
# By gRPC service, and `<name>_rest` for REST: where it listens by default.
DEFAULT_ADDRESSES: Mapping[str, str] = {
    name: f"{LOOPBACK}:{port}"
    for service in map(REGISTRY.__getitem__, RPC_SERVICES)
    for name, port in ((service.name, service.port), (f"{service.name}_rest", service.rest_port))
    if port
}
RPC_PERMISSIONS: Mapping[str, Callers] = {
    f"/vestnik.{service.name}.v1.{service.name.capitalize()}Service/{method}": callers
    for service in REGISTRY.values()
    for method, callers in service.methods.items()
} | {f"/{reads}/{method}": callers for reads, callers in READS.items() for method in ("GetRow", "ListRows")}


def service_of(name: str) -> str:
    """The service that answers at an address of DEFAULT_ADDRESSES."""
    return name.removesuffix("_rest")


def dependencies(service: str) -> tuple[str, ...]:
    """The services that it calls."""
    return tuple(
        other.name for other in REGISTRY.values() if any(service in callers for callers in other.methods.values())
    )


def permitted_callers(method: str) -> Callers:
    """The services that may call the method `/package.Service/Method`.

    Raises:
        LookupError: the method has no row; it is served to no one.
    """
    try:
        return RPC_PERMISSIONS[method]
    except KeyError:
        raise LookupError(f"{method} has no row in contracts/services.py: add who may call it, and for whom") from None
