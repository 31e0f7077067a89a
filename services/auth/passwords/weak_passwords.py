"""Weak passwords: the most common ones, and those that contain the username or the e-mail address."""

from collections.abc import Set
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from contracts.errors import Invalid, Violation
from contracts.values.field_types import PASSWORD_CHARACTERS

CODE = "weak_password"


class WeakPasswords:
    """Refuses weak passwords."""

    def __init__(self, common: Set[str]) -> None:
        """`common`: common passwords in lower case."""
        self._common = common

    def check(self, password: str, *, username: str, email: str, path: str = "/password") -> None:
        """Checks a password that is to be set, not one that is tried at a login. `path`: as `Passwords.hash`.

        Raises:
            Invalid: the password is a common one or contains the username or the address.
        """
        folded = password.casefold()
        if folded in self._common:
            raise _weak(path, "This is one of the most common passwords")
        person = email.rpartition("@")[0]
        # A good password may contain the local part by chance, so it counts only if it makes up half of it.
        for part in (username, email, person if 2 * len(person) >= len(password) else ""):
            if part and part.casefold() in folded:
                raise _weak(path, "Must not contain the username or the e-mail address")


def common_passwords() -> frozenset[str]:
    """Returns the 30,000 most common leaked passwords, except those that are too short anyway."""
    # Split after the package's other lists are freed, so that the set's strings are contiguous in memory: 1 MB.
    return frozenset(_listed().split("\n"))


def _listed() -> str:
    # Load one module only: importing the package would build all of its tables, which take 16 MB.
    package = find_spec("zxcvbn")
    assert package is not None
    assert package.origin is not None
    spec = spec_from_file_location("common_passwords", Path(package.origin).with_name("frequency_lists.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return "\n".join(
        password for password in module.FREQUENCY_LISTS["passwords"] if len(password) >= PASSWORD_CHARACTERS
    )


def _weak(path: str, message: str) -> Invalid:
    return Invalid(violations=(Violation(path, message, CODE),))
