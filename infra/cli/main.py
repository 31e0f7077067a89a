"""The command `vestnik`. Each command is one module, imported when it is called, so that help comes at once."""

import importlib
import keyword
import os
import sys

import click

from infra.background import lower_priority

SUMMARIES = {
    "up": "Run the whole system on this machine.",
    "serve": "Run one service, for a deployment.",
    "status": "Show streams, projections and services.",
    "events": "Show events.",
    "analytics": "Show how much happened, hour by hour.",
    "rows": "Show what is in a read model.",
    "rebuild": "Rebuild read models from the streams.",
    "verify": "Compare read models with the streams, row for row.",
    "dead-letters": "Events that a projection could not apply.",
    "export": "Write all streams to one file.",
    "import": "Bring an export into an empty system.",
    "audit": "Show who logged in, and when and why sessions ended.",
    "sessions": "End sessions of users.",
    "operators": "Say whose accounts may open the operators' page.",
    "keys": "Show and replace the keys of access tokens.",
    "streams": "Make the streams, for a deployment.",
    "nats-config": "Print the accounts of a NATS server, for a deployment.",
    "postgres-logins": "Print the logins of a PostgreSQL server, for a deployment.",
    "load": "Replay a recorded history of messages.",
    "settings": "Show every setting, its value and its meaning.",
}
# They read whole streams, while the services on the same machine have people to serve.
_LONG = {"rebuild", "verify", "export"}
INTERRUPTED = 130


class Commands(click.Group):
    """The commands by name, without importing their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUMMARIES:
            return None
        name = cmd_name.replace("-", "_")
        if keyword.iskeyword(name):
            name += "_"
        command = getattr(importlib.import_module(f"infra.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vestnik", prog_name="vestnik")
def cli() -> None:
    """Vestnik, an event-sourced messenger back end."""


def main() -> None:
    """Runs the command; a failure that is the operator's to mend is one line on standard error and exit code 1."""
    if _LONG.intersection(sys.argv[1:2]):
        lower_priority()
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains once more
        sys.exit(1)
    except _mendable() as error:
        click.echo(f"vestnik: {error}{_details(error)}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _details(error: Exception) -> str:
    """What exactly is not valid, where a service says so."""
    from contracts.errors import VestnikError

    found = error.violations if isinstance(error, VestnikError) else ()
    return "".join(f" {violation.path.lstrip('/')}: {violation.message}." for violation in found)


def _mendable() -> tuple[type[Exception], ...]:
    """Looked up only when there is an error."""
    from infra.cli.mendable import MENDABLE

    return MENDABLE


if __name__ == "__main__":
    main()
