"""The command `vestnik`. Each command is one module, imported only when it runs, so that --help is fast."""

import errno
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click

from infra.cli.process_priority import lower_priority

# By command: its module, and its summary in --help.
COMMANDS = {
    "up": ("infra.cli.system.up", "Run the whole system on this machine."),
    "serve": ("infra.cli.system.serve", "Run one service, for a deployment."),
    "probe": ("infra.cli.system.probe", "Ask the process of a service whether it lives, or is ready."),
    "status": ("infra.cli.system.status", "Show streams, projections and services."),
    "events": ("infra.cli.events.events", "Show events."),
    "aggregate": ("infra.cli.events.aggregate", "Show one aggregate: its events, and its state after each."),
    "analytics": ("infra.cli.events.analytics", "Show hourly counts of events."),
    "rows": ("infra.cli.projections.rows", "Show the rows of a read model."),
    "projections": ("infra.cli.projections.projections", "Pause, resume or reset what services apply."),
    "rebuild": ("infra.cli.projections.rebuild", "Rebuild read models from the streams."),
    "verify": ("infra.cli.projections.verify", "Compare read models with the streams, row for row."),
    "dead-letters": ("infra.cli.dead_letters.dead_letters", "Events that a projection could not apply."),
    "export": ("infra.cli.events.export", "Write all streams to one file."),
    "import": ("infra.cli.events.import_", "Import an export into an empty system."),
    "audit": ("infra.cli.accounts.audit", "Show who logged in, and what operators did and looked at."),
    "sessions": ("infra.cli.accounts.sessions", "End sessions of users."),
    "accounts": ("infra.cli.accounts.accounts", "Help users who have lost what they log in with."),
    "erase": ("infra.cli.personal_data.erase", "Erase an account and its personal data, at once and for ever."),
    "operators": ("infra.cli.accounts.operators", "Manage the accounts that may open the operators' page."),
    "keys": ("infra.cli.accounts.keys", "Show and replace the keys of access tokens."),
    "hold": ("infra.cli.personal_data.hold", "Keep a person's data from erasure, for the law."),
    "personal-data": ("infra.cli.personal_data.personal_data", "Show what of the personal data is not sealed."),
    "streams": ("infra.cli.system.streams", "Create the streams, for a deployment."),
    "deployment-secrets": (
        "infra.cli.system.deployment_secrets",
        "Make all keys, passwords and certificates of a deployment.",
    ),
    "nats-config": ("infra.cli.system.nats_config", "Print the accounts of a NATS server, for a deployment."),
    "postgres-logins": (
        "infra.cli.system.postgres_logins",
        "Print the logins of a PostgreSQL server, for a deployment.",
    ),
    "load": ("infra.cli.events.load", "Replay a recorded history of messages."),
    "settings": ("infra.cli.system.settings", "Show every setting, its value and its meaning."),
}
# These read whole streams, so they run at a lower priority than the services on the same machine.
_LONG = {"rebuild", "verify", "export"}
INTERRUPTED = 130
_WRONG_USE = 2
# A file or folder is full, or not this user's to read or write.
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class Commands(click.Group):
    """Lists the commands without importing their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        with _without_aiohttp():
            command = getattr(importlib.import_module(module), module.rpartition(".")[2])
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@contextmanager
def _without_aiohttp() -> Iterator[None]:
    """Keeps aiohttp from being imported; a command that needs it imports it when it runs.

    nats-py imports it, if it can, for NATS over WebSocket, which is not used here: that would take a third of a
    command's start.
    """
    if "aiohttp" in sys.modules:
        yield
        return
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # what the import system takes for "not installed"
    try:
        yield
    finally:
        del sys.modules["aiohttp"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vestnik", prog_name="vestnik")
def cli() -> None:
    """Vestnik, an event-sourced messenger back end."""


def main() -> None:
    """Runs the command; an error that the operator can fix is one line on standard error and exit code 1."""
    if _LONG.intersection(sys.argv[1:2]):
        lower_priority()
    try:
        code = cli.main(standalone_mode=False)
        if sys.stdout is not None:  # None: it was closed
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except UnicodeEncodeError:
        if (argument := _unencodable(sys.argv[1:])) is None:
            raise
        click.echo(f"vestnik: the argument {argument!r} is not in the encoding of this terminal", err=True)
        sys.exit(_WRONG_USE)
    except _mendable() as error:
        click.echo(f"vestnik: {_text_of(error)}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        if error.filename is None:
            _drop_output()
        click.echo(f"vestnik: {error.filename or 'the output'} cannot be used: {error.strerror}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _unencodable(arguments: Iterable[str]) -> str | None:
    """The first argument that is not in the encoding of the terminal; a file may have such a name, a text may not."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            return argument
    return None


def _drop_output() -> None:
    """Discards what is left of the output; otherwise the interpreter reports the same error at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _text_of(error: Exception) -> str:
    """The error with the violations that a service reports, if any. Its lines may quote what clients have sent."""
    from contracts.errors import VestnikError
    from infra.cli.output.terminal_text import printable

    violations = error.violations if isinstance(error, VestnikError) else ()
    details = "".join(f" {violation.path.lstrip('/')}: {violation.message}." for violation in violations)
    return "\n".join(map(printable, f"{error}{details}".split("\n")))


def _mendable() -> tuple[type[Exception], ...]:
    """The errors that the operator can fix; imported only when there is an error."""
    from infra.cli.errors import MENDABLE

    return MENDABLE


if __name__ == "__main__":
    main()
