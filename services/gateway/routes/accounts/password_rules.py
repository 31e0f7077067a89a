"""How long a password that is set may be at most: counted in bytes, which no schema of JSON can say."""

from contracts.errors import Invalid, Violation
from contracts.values.field_types import PASSWORD_BYTES


def check_length(password: str, path: str) -> None:
    """
    Raises:
        Invalid: the password, which stands at `path`, has more than 1,024 bytes.
    """
    if len(password.encode()) > PASSWORD_BYTES:
        raise Invalid(violations=(Violation(path, f"Must have {PASSWORD_BYTES:,} bytes in UTF-8 at most"),))
