"""Who may call which method of a service, and in whose name: what no row allows is refused.

A service token names the service that calls and, where it acts for somebody, the user. The gateway knows its users by
their access tokens, auth by their passwords; nobody else says who somebody is, they only pass it on. So a service
that was broken into can act for those who are using it just then, and not for everybody.
"""

from collections.abc import Mapping

# By method, then by calling service: the field of the request that holds the user whom the token must name. None: the
# call is made in nobody's name (before a login), or it asks about somebody else.
Callers = Mapping[str, str | None]

_FOR_USER: Callers = {"gateway": "user_id"}
_FOR_NOBODY: Callers = {"gateway": None}

RPC_PERMISSIONS: Mapping[str, Callers] = {
    "/vestnik.auth.v1.AuthService/Register": _FOR_NOBODY,
    "/vestnik.auth.v1.AuthService/Login": _FOR_NOBODY,
    "/vestnik.auth.v1.AuthService/VerifyEmail": _FOR_NOBODY,
    "/vestnik.auth.v1.AuthService/GetRegistration": _FOR_NOBODY,
    "/vestnik.auth.v1.AuthService/EndRegistration": _FOR_NOBODY,
    "/vestnik.auth.v1.AuthService/ResendVerification": _FOR_NOBODY,
    "/vestnik.auth.v1.AuthService/ChangePassword": _FOR_USER,
    "/vestnik.auth.v1.AuthService/RequestPasswordReset": _FOR_NOBODY,
    "/vestnik.auth.v1.AuthService/ResetPassword": _FOR_NOBODY,
    # Contact asks whether there is such a user; it is shown no e-mail address.
    "/vestnik.auth.v1.AuthService/GetUser": {"gateway": "user_id", "contact": None},
    "/vestnik.session.v1.SessionService/CreateSession": {"auth": "user_id"},
    "/vestnik.session.v1.SessionService/ValidateSession": _FOR_NOBODY,
    "/vestnik.session.v1.SessionService/RefreshSession": _FOR_NOBODY,
    "/vestnik.session.v1.SessionService/RevokeSession": {"gateway": "user_id", "auth": "user_id"},
    # A changed password ends that user's sessions; an operator may log everybody out, and nobody in.
    "/vestnik.session.v1.SessionService/EndSessions": {"auth": "user_id", "operator": None},
    "/vestnik.session.v1.SessionService/ListHistory": _FOR_USER,
    "/vestnik.session.v1.SessionService/ListSessions": _FOR_USER,
    "/vestnik.session.v1.SessionService/EventsSince": _FOR_USER,
    "/vestnik.profile.v1.ProfileService/GetProfile": _FOR_NOBODY,
    "/vestnik.profile.v1.ProfileService/UpdateProfile": _FOR_USER,
    "/vestnik.profile.v1.ProfileService/SearchProfiles": _FOR_NOBODY,
    "/vestnik.profile.v1.ProfileService/EventsSince": _FOR_NOBODY,
    "/vestnik.contact.v1.ContactService/AddFriend": _FOR_USER,
    "/vestnik.contact.v1.ContactService/RemoveFriend": _FOR_USER,
    "/vestnik.contact.v1.ContactService/GetFriends": _FOR_USER,
    "/vestnik.contact.v1.ContactService/IsFriend": {"messaging": "user_id", "gateway": "user_id"},
    "/vestnik.contact.v1.ContactService/EventsSince": _FOR_USER,
    "/vestnik.messaging.v1.MessagingService/SendMessage": {"gateway": "sender_id"},
    "/vestnik.messaging.v1.MessagingService/GetMessages": _FOR_USER,
    "/vestnik.messaging.v1.MessagingService/MarkSeen": _FOR_USER,
    "/vestnik.messaging.v1.MessagingService/ListConversations": _FOR_USER,
    "/vestnik.messaging.v1.MessagingService/ListNotifications": _FOR_USER,
    "/vestnik.messaging.v1.MessagingService/MarkNotificationsRead": _FOR_USER,
    "/vestnik.messaging.v1.MessagingService/CountUnreadNotifications": _FOR_USER,
    "/vestnik.messaging.v1.MessagingService/EventsSince": _FOR_USER,
    "/vestnik.messaging.v1.MessagingService/NotificationsSince": _FOR_USER,
    # Whether that user is an operator is asked there.
    "/vestnik.operator.v1.OperatorService/GetStatus": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/GetRates": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/ListEvents": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/ListSessionEvents": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/GetPerson": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/TraceEvent": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/ListDeadLetters": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/GetDeadLetter": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/RetryDeadLetter": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/DiscardDeadLetter": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/ListMaintenance": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/StartMaintenance": _FOR_USER,
    "/vestnik.operator.v1.OperatorService/CancelMaintenance": _FOR_USER,
}


def permitted_callers(method: str) -> Callers:
    """Who may call the method, `/package.Service/Method`.

    Raises:
        LookupError: nobody has said so; a method without a row is served to nobody.
    """
    try:
        return RPC_PERMISSIONS[method]
    except KeyError:
        raise LookupError(
            f"{method} has no row in contracts/rpc_permissions.py: say who may call it, and for whom"
        ) from None
