"""The operator at the machine: whose process it is, not what the environment says."""

import os
import pwd
import socket
from types import SimpleNamespace

import pytest

from infra.cli.actions.identity import actor, login_name

_NAMES = {0: "root", 1000: "anna", 1001: "vestnik"}


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "host-1")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name=_NAMES[uid]))
    monkeypatch.delenv("SUDO_UID", raising=False)
    for name in ("SUDO_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "boris")


def run_by(monkeypatch: pytest.MonkeyPatch, uid: int, *, sudo: str | None = None) -> None:
    monkeypatch.setattr(os, "getuid", lambda: uid)
    if sudo is not None:
        monkeypatch.setenv("SUDO_UID", sudo)


@pytest.mark.parametrize(
    ("uid", "sudo", "by", "name", "address"),
    [
        (1001, None, None, "vestnik", "host-1"),
        (1001, None, "boris", "boris", "vestnik@host-1"),
        (1001, None, " Boris \x1b[2J\n Brown", "Boris [2J Brown", "vestnik@host-1"),
        (1001, None, "\udcff\x00", "vestnik", "host-1"),
        (0, "1000", None, "anna", "root@host-1"),
        (0, "1000", "boris", "boris", "anna@root@host-1"),
        (0, "not a number", None, "root", "host-1"),
        # Only root may have been called by sudo.
        (1001, "1000", None, "vestnik", "host-1"),
    ],
)
def test_the_operator_is_the_user_of_the_process_or_the_one_behind_sudo(
    monkeypatch: pytest.MonkeyPatch, uid: int, sudo: str | None, by: str | None, name: str, address: str
) -> None:
    run_by(monkeypatch, uid, sudo=sudo)
    operator = actor(by)
    assert (operator.name, operator.address) == (name, address)


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    run_by(monkeypatch, 4711)
    assert login_name() == "uid-4711"
