"""Reserved usernames: names that look like the system's operators or one of their addresses.

Dots and underscores are ignored: `a.d.m.i.n` is `admin`.
"""

# fmt: off
_RESERVED = frozenset({
    "abuse", "account", "accounts", "admin", "administrator", "admins", "all", "anonymous", "api", "auth", "billing",
    "bot", "bots", "contact", "everybody", "everyone", "gateway", "guest", "help", "helpdesk", "here", "hostmaster",
    "info", "legal", "mail", "mailerdaemon", "messaging", "moderator", "moderators", "nobody", "noreply",
    "notification", "notifications", "null", "official", "operator", "operators", "owner", "password", "postmaster",
    "press", "privacy", "profile", "root", "sales", "security", "service", "session", "staff", "superuser", "support",
    "sysadmin", "system", "team", "undefined", "unknown", "usenet", "user", "users", "verify", "vestnik", "webmaster",
    "www",
})
# fmt: on
CODE = "reserved_username"
_IGNORED = str.maketrans("", "", "._")


def is_reserved(username: str) -> bool:
    return username.lower().translate(_IGNORED) in _RESERVED
