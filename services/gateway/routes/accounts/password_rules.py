"""Maximum length of a new password in bytes, which a JSON schema cannot express."""

from contracts.errors import Invalid, Violation
from contracts.values.field_types import PASSWORD_BYTES


def check_length(password: str, path: str) -> None:
    """
    Raises:
        Invalid: the password has more than 1,024 bytes; `path` is its place in the body.
    """
    if len(password.encode()) > PASSWORD_BYTES:
        raise Invalid(violations=(Violation(path, f"Must have {PASSWORD_BYTES:,} bytes in UTF-8 at most"),))
