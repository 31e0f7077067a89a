"""Who runs the command, and on which machine."""

import getpass
import os
import socket

import click

from services.operator.actions.domain import Actor

_LONGEST_REASON = 1_000


class Reason(click.ParamType[str]):
    """Why something is done: bounded, since it is stored for good."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = " ".join(str(value).split())
        if not text or "\x00" in text or len(text) > _LONGEST_REASON:
            self.fail(f"give a reason of 1 to {_LONGEST_REASON} characters", param, ctx)
        return text


def login_name() -> str:
    """The login name on this machine; behind sudo that of the user who called it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def actor(by: str | None = None) -> Actor:
    """The operator at this machine. `by`: another name, which they give; the login name is then in the address."""
    login, host = login_name(), socket.gethostname()
    name = " ".join((by or login).split())[:80] or login
    return Actor(name=name, user_id=None, channel="command_line", address=host if name == login else f"{login}@{host}")
