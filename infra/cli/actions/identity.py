"""Who runs the command, and on which machine."""

import os
import pwd
import socket

import click

from services.operator.actions.domain import Actor


class Reason(click.ParamType[str]):
    """Why something is done: bounded, since it is stored permanently."""

    name = "text"

    def __init__(self, longest: int = 1_000) -> None:
        """`longest`: in characters."""
        self._longest = longest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = " ".join(str(value).split())
        if not text or "\x00" in text or len(text) > self._longest:
            self.fail(f"give a reason of 1 to {self._longest} characters", param, ctx)
        return text


def login_name() -> str:
    """The name of the process's user; behind sudo that of the user who called it.

    Not from USER or LOGNAME, which anybody can set. Only root may be called by sudo, and can set anything anyway.
    """
    caller = os.environ.get("SUDO_UID", "")
    return _name(int(caller)) if os.getuid() == 0 and caller.isascii() and caller.isdigit() else _name(os.getuid())


def actor(by: str | None = None) -> Actor:
    """The operator at this machine. `by`: another name, which they give.

    Unless the name is that of the process's user, the address has both that one and the one behind sudo.
    """
    own, login, host = _name(os.getuid()), login_name(), socket.gethostname()
    name = " ".join("".join(char if char.isprintable() else " " for char in by or login).split())[:80] or login
    # By name, each once: `root@host`, or `anna@root@host` if anna gave another name behind sudo.
    users = [user for user in dict.fromkeys((login, own)) if user != name]
    return Actor(name=name, user_id=None, channel="command_line", address="@".join((*users, host)))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid-{uid}"
