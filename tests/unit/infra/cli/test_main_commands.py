"""The command line: its list of commands, and how failures are reported."""

import subprocess
import sys

import msgspec
import pytest
from click.testing import CliRunner

from infra.cli import main
from infra.cli.main import COMMANDS, cli
from infra.cli.system.settings import masked, shown
from infra.operator_errors import OperatorError
from infra.settings import Settings, describe


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_is_there_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) > 3


def test_help_imports_no_command() -> None:
    program = "import sys, infra.cli.main as m; m.cli(['--help'], standalone_mode=False); print(len(sys.modules))"
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "up " in completed.stdout
    assert int(completed.stdout.split()[-1]) < 250


def test_no_command_imports_aiohttp_before_it_runs() -> None:
    program = (
        "import sys, infra.cli.main as m; [m.cli.get_command(None, name) for name in m.COMMANDS];"
        "print('aiohttp' in sys.modules, 'nats.aio.client' in sys.modules); import aiohttp.web"
    )
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["False", "True"]


def test_a_running_system_is_supervised_without_aiohttp() -> None:
    program = (
        "import sys, infra.cli.main as m; m.cli.get_command(None, 'up'); import infra.supervisor.system;"
        "print('aiohttp' in sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["False"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["rebuild", "nothing"],
        ["verify", "nothing"],
        ["rows", "nothing"],
        ["projections", "pause", "nothing", "--reason", "a test"],
        ["dead-letters", "retry", "nothing"],
    ],
    ids=" ".join,
)
def test_an_unknown_read_model_is_one_line_like_any_other_failure(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "lower_priority", lambda: None)
    monkeypatch.setattr(sys, "argv", ["vestnik", *arguments])
    with pytest.raises(SystemExit, match="1"):
        main.main()
    assert capsys.readouterr().err.startswith("vestnik: there is no projection 'nothing'; there are: analytics, ")


def test_what_an_error_quotes_does_not_control_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(**_: object) -> None:
        raise OperatorError("discarded before: \x1b]0;x\x07\x9b1m\nsee the runbook")

    monkeypatch.setattr(main.cli, "main", run)
    monkeypatch.setattr(sys, "argv", ["vestnik", "dead-letters"])
    with pytest.raises(SystemExit, match="1"):
        main.main()
    assert capsys.readouterr().err == "vestnik: discarded before: \\u001b]0;x\\u0007\\u009b1m\nsee the runbook\n"


def test_an_argument_that_is_no_text_is_reported_in_one_line_as_wrong_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(**_: object) -> None:
        sys.argv[1].encode()

    monkeypatch.setattr(main.cli, "main", run)
    monkeypatch.setattr(sys, "argv", ["vestnik", "\udcff"])
    with pytest.raises(SystemExit, match="2"):
        main.main()
    assert capsys.readouterr().err == "vestnik: the argument '\\udcff' is not in the encoding of this terminal\n"


def test_unencodable_text_of_the_program_is_not_blamed_on_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(**_: object) -> None:
        "\udcff".encode()

    monkeypatch.setattr(main.cli, "main", run)
    monkeypatch.setattr(sys, "argv", ["vestnik", "жук"])
    with pytest.raises(UnicodeEncodeError):
        main.main()


def test_a_wrong_setting_fails_with_one_line() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "infra.cli.main", "settings"],
        env={"VESTNIK_PORT": "http"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (completed.returncode, completed.stdout) == (1, "")
    assert completed.stderr.startswith("vestnik: VESTNIK_PORT='http' is invalid")
    assert completed.stderr.count("\n") == 1


# One writes with a flush, the other is flushed at its end.
@pytest.mark.parametrize("program", ["click.echo('x')", "sys.stdout.write('x')"])
def test_output_to_a_full_disk_fails_with_one_line(program: str) -> None:
    source = (
        f"import click, sys, infra.cli.main as m; m.cli.main = lambda **_: {program} and None; sys.argv = ['vestnik'];"
        "m.main()"
    )
    with open("/dev/full", "w") as full:
        completed = subprocess.run(
            [sys.executable, "-c", source], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert completed.returncode == 1
    assert completed.stderr == "vestnik: the output cannot be used: No space left on device\n"


def test_a_file_that_is_not_this_users_is_named_in_one_line() -> None:
    source = (
        "import sys, infra.cli.main as m\n"
        "def run(**_): raise PermissionError(13, 'Permission denied', '/secrets/claims.key')\n"
        "m.cli.main = run; sys.argv = ['vestnik']; m.main()"
    )
    completed = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (
        1,
        "vestnik: /secrets/claims.key cannot be used: Permission denied\n",
    )


def test_settings_are_all_shown_with_their_meaning() -> None:
    settings = shown(Settings(port=9000))
    assert [setting.name for setting in settings] == [setting.name for setting in describe()]
    assert all(setting.description for setting in settings)
    port = next(setting for setting in settings if setting.name == "VESTNIK_PORT")
    assert (port.value, port.default) == ("9000", "8080")
    assert msgspec.json.encode(settings)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("nats://me:secret@a:4222,nats://me:other@b", "nats://me:***@a:4222,nats://me:***@b"),
        ("nats://secret@a:4222", "nats://***@a:4222"),
        ("tls://secret@a:4222,tls://me:secret@b", "tls://***@a:4222,tls://me:***@b"),
        ("smtp://me:se/c,r@et@a?starttls=always", "smtp://me:***@a?starttls=always"),
        ("postgresql://me@a/b?password=secret&user=me", "postgresql://me@a/b?password=***&user=me"),
        ("host=a password='se cret' dbname=b", "host=a password=*** dbname=b"),
        ("nats://a:4222,nats://b:4222", "nats://a:4222,nats://b:4222"),
        ("Vestnik <no-reply@localhost>", "Vestnik <no-reply@localhost>"),
    ],
)
def test_passwords_in_settings_are_not_shown(value: str, expected: str) -> None:
    assert masked(value) == expected
