"""Destructive acts require a reason, on the command line as on the operators' page; other acts accept one."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from infra.cli.main import cli

REQUIRED = {
    "accounts reset-totp",
    "dead-letters discard",
    "erase",
    "hold place",
    "hold release",
    "keys accept-loss",
    "keys restore",
    "keys rewrap",
    "keys rotate",
    "keys rotate-notary",
    "keys rotate-personal-data",
    "keys rotate-positions",
    "keys rotate-services",
    "keys rotate-totp",
    "operators remove",
    "projections pause",
    "projections reset",
    "projections resume",
    "projections skip",
    "sessions revoke",
    "streams accept-loss",
    "streams restored",
}
# Of `import` and `rebuild` it depends on their other options.
OPTIONAL = {"dead-letters retry", "export", "import", "keys back-up", "operators add", "rebuild"}


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")


def test_every_act_takes_a_reason_and_what_destroys_does_not_go_without() -> None:
    assert isinstance(cli, click.Group)
    reasons = {
        path: option.required
        for path, command in commands(cli)
        for option in command.params
        # Of `audit sessions` it is a filter.
        if option.name == "reason" and not path.startswith("audit ")
    }
    assert {path for path, is_required in reasons.items() if is_required} <= REQUIRED
    assert {path for path, is_required in reasons.items() if not is_required} <= OPTIONAL


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "history.vestnik"),
        ("rebuild", "friends", "--drop-old"),
        ("rebuild", "friends", "--accept-loss", "CONTACT:1"),
    ],
)
def test_a_command_that_destroys_by_an_option_needs_a_reason_with_it(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, "--reason" in result.output) == (2, True), result.output
    for reason in ("", "  ", "x" * 1_001, "a\x00b"):
        refused = CliRunner().invoke(cli, [*arguments, "--reason", reason])
        assert (refused.exit_code, "give a reason" in refused.output) == (2, True), refused.output
