"""Rate limits of all routes, by address and by account; an ordinary client reaches none.

Limits by address are wide, since many people may share an address. Requests aimed at one account are counted by that
account, from however many addresses they come. A route that declares no limits gets those of its class: `of_class`.
"""

from services.gateway.limits.rate_limiter import Limit, Subject


def _failures(name: str) -> tuple[Limit, ...]:
    """Limits on wrong passwords: a burst of 10, then one per 10 s, soon one per 2 min, after some hours one per 7 min.

    That is at most 50 in any hour. An account has two logins, username and e-mail address, so 100 with both; for 7 days
    after a change of the address it has a third.
    """
    return (
        Limit(name=name, quota=6, window=60, burst=10, subject=Subject.BODY),
        Limit(name=f"{name}-hour", quota=30, window=3600, burst=20, subject=Subject.BODY),
        Limit(name=f"{name}-day", quota=200, window=86_400, burst=100, subject=Subject.BODY),
    )


# `refunds_outages`: limits that bound the mails to one mailbox. A request that the event store refused causes no mail,
# and an outage must not lock an owner out for an hour after it. Every other limit keeps the count. Those by address and
# account bound the work of the gateway and the services, which a refused request causes too. `verify-token` bounds
# guesses of a password, which may be checked before the refusal. `refresh` is available again within a second.
REGISTER = Limit(name="register", quota=120, window=60, subject=Subject.ADDRESS)
REGISTER_EMAIL = Limit(name="register-email", quota=20, window=3600, subject=Subject.BODY, refunds_outages=True)
VERIFY = Limit(name="verify", quota=300, window=60, subject=Subject.ADDRESS)
# A token may need the registration's password, which must not be guessed.
VERIFY_TOKEN = Limit(name="verify-token", quota=30, window=3600, subject=Subject.BODY)
LOGIN_ADDRESS = Limit(name="login", quota=120, window=60, subject=Subject.ADDRESS)
REFRESH_ADDRESS = Limit(name="refresh-address", quota=1200, window=60, subject=Subject.ADDRESS)
REFRESH = Limit(name="refresh", quota=60, window=60, subject=Subject.BODY)
RESEND_ADDRESS = Limit(name="resend", quota=60, window=3600, subject=Subject.ADDRESS)
RESEND_EMAIL = Limit(name="resend-email", quota=5, window=3600, subject=Subject.BODY, refunds_outages=True)
RESET_ADDRESS = Limit(name="reset", quota=60, window=3600, subject=Subject.ADDRESS)
RESET_EMAIL = Limit(name="reset-email", quota=5, window=3600, subject=Subject.BODY, refunds_outages=True)
RESET_CONFIRM = Limit(name="reset-confirm", quota=60, window=60, subject=Subject.ADDRESS)
NOT_ME = Limit(name="not-me", quota=60, window=60, subject=Subject.ADDRESS)
CHANGE_PASSWORD = Limit(name="change-password", quota=20, window=60, subject=Subject.ACCOUNT)
CHANGE_EMAIL = Limit(name="change-email", quota=10, window=3600, subject=Subject.ACCOUNT)
# The domain allows one copy a day; this bounds the attempts.
DATA_EXPORT = Limit(name="data-export", quota=20, window=3600, subject=Subject.ACCOUNT)
# A file of up to 1 GiB; whether it is ready may be asked more often.
DATA_DOWNLOAD = Limit(name="data-download", quota=10, window=3600, subject=Subject.ACCOUNT)
SEND_ADDRESS = Limit(name="send-address", quota=2000, window=1, burst=4000, subject=Subject.ADDRESS)
SEND = Limit(name="send", quota=100, window=1, burst=200, subject=Subject.ACCOUNT)
# Edits and deletions of messages.
CHANGE_ADDRESS = Limit(name="change-address", quota=2000, window=1, burst=4000, subject=Subject.ADDRESS)
CHANGE = Limit(name="change", quota=120, window=60, subject=Subject.ACCOUNT)
# Settings of conversations; a draft is saved every few seconds while someone writes.
CONVERSATION_CHANGE_ADDRESS = Limit(name="conversation-change-address", quota=6_000, window=60, subject=Subject.ADDRESS)
CONVERSATION_CHANGE = Limit(name="conversation-change", quota=240, window=60, burst=240, subject=Subject.ACCOUNT)
REACT_ADDRESS = Limit(name="react-address", quota=6_000, window=60, subject=Subject.ADDRESS)
# Each change is an event that is kept.
REACT = Limit(name="react", quota=300, window=60, burst=150, subject=Subject.ACCOUNT)
SEARCH_ADDRESS = Limit(name="search-address", quota=1200, window=60, subject=Subject.ADDRESS)
SEARCH = Limit(name="search", quota=120, window=60, subject=Subject.ACCOUNT)
MESSAGE_SEARCH_ADDRESS = Limit(name="message-search-address", quota=2_400, window=60, subject=Subject.ADDRESS)
MESSAGE_SEARCH = Limit(name="message-search", quota=240, window=60, subject=Subject.ACCOUNT)
# Of each conversation the newest notification: reads an entry for every notification that the user has.
NOTIFICATION_GROUPS = Limit(name="notification-groups", quota=30, window=60, subject=Subject.ACCOUNT)
PROFILE_ADDRESS = Limit(name="profile-address", quota=6_000, window=60, subject=Subject.ADDRESS)
LIVE_ADDRESS = Limit(name="live-address", quota=6_000, window=60, subject=Subject.ADDRESS)
FRIENDS_ADDRESS = Limit(name="friends-address", quota=6_000, window=60, subject=Subject.ADDRESS)
# Requests, acceptances, withdrawals, removals and blocks together.
FRIENDS = Limit(name="friends", quota=60, window=60, burst=120, subject=Subject.ACCOUNT)
REPORT_ADDRESS = Limit(name="report-address", quota=600, window=3600, subject=Subject.ADDRESS)
REPORT = Limit(name="report", quota=30, window=3600, burst=10, subject=Subject.ACCOUNT)
PROFILE_CHANGE_ADDRESS = Limit(name="profile-change-address", quota=3_000, window=60, subject=Subject.ADDRESS)
PROFILE_CHANGE = Limit(name="profile-change", quota=120, window=3600, burst=60, subject=Subject.ACCOUNT)
OPS = Limit(name="ops", quota=1_200, window=60, subject=Subject.ACCOUNT)
TYPING = Limit(name="typing", quota=120, window=60, burst=60, subject=Subject.ACCOUNT, shared=False)
PRESENCE = Limit(name="presence", quota=120, window=60, burst=60, subject=Subject.ACCOUNT, shared=False)
LIVE = Limit(name="live", quota=120, window=60, subject=Subject.ACCOUNT)

# Limits that protect a gateway from overload are counted by each gateway alone, so that reads cost no messages.
READ_ADDRESS = Limit(name="read-address", quota=2_000, window=1, burst=4_000, subject=Subject.ADDRESS, shared=False)
READ = Limit(name="read", quota=100, window=1, burst=200, subject=Subject.ACCOUNT, shared=False)
WRITE_ADDRESS = Limit(name="write-address", quota=2_000, window=1, burst=4_000, subject=Subject.ADDRESS, shared=False)
WRITE = Limit(name="write", quota=100, window=1, burst=200, subject=Subject.ACCOUNT, shared=False)
PUBLIC_ADDRESS = Limit(name="public-address", quota=6_000, window=60, subject=Subject.ADDRESS, shared=False)
HEALTH_ADDRESS = Limit(name="health-address", quota=6_000, window=60, subject=Subject.ADDRESS, shared=False)
TREE_HEADS_ADDRESS = Limit(name="tree-heads-address", quota=300, window=60, subject=Subject.ADDRESS, shared=False)
METRICS_ADDRESS = Limit(name="metrics-address", quota=300, window=60, subject=Subject.ADDRESS, shared=False)
# Every WebSocket message, command or not; a command also counts against its route's limits.
COMMAND = Limit(name="command", quota=300, window=1, burst=600, subject=Subject.ACCOUNT, shared=False)

# Consumed in password_attempts.py.
LOGIN_FAILURES = _failures("login-name")
DEVICE_FAILURES = _failures("login-device")
PASSWORD_FAILURES = _failures("password")

# Codes of the second factor, by login and, for a logged-in user, by account. At any time three codes in a million are
# right. Someone who knows the password has 20 tries a day with each login of the account: 40 with username and e-mail
# address find a code within a year with a probability of 4 %. An earlier address, for 7 days after its change, and a
# stolen session add 20 each: 80 a day would find one within a year with 8 %.
CODE_FAILURES = (
    Limit(name="code", quota=6, window=60, burst=10, subject=Subject.BODY),
    Limit(name="code-day", quota=20, window=86_400, burst=20, subject=Subject.BODY),
)

ALL = (
    *(limit for limit in globals().values() if isinstance(limit, Limit)),
    *(*LOGIN_FAILURES, *DEVICE_FAILURES, *PASSWORD_FAILURES, *CODE_FAILURES),
)


def of_class(*, public: bool, writes: bool) -> tuple[Limit, ...]:
    """The limits of a route that declares none."""
    if public:
        return (PUBLIC_ADDRESS,)
    return (WRITE_ADDRESS, WRITE) if writes else (READ_ADDRESS, READ)


def daily_bytes(quota: int) -> Limit:
    """Daily limit on the request bodies that one user sends to be stored, in bytes.

    Half is available as a burst, half is refilled over the day. Use is published in steps of 64 KiB: most users send
    less in a day and cost no messages.
    """
    return Limit(
        name="bytes",
        quota=max(1, quota // 2),
        window=86_400,
        subject=Subject.ACCOUNT,
        unit="content-bytes",
        publish_from=64 * 1024,
    )
