"""How long a password that is set may be: counted in bytes, which no schema of JSON can say."""

from contracts.errors import Invalid, Violation
from contracts.fields import PASSWORD_BYTES


def check_length(password: str, path: str) -> None:
    """
    Raises:
        Invalid: the password, which stands at `path`, is not 8 to 72 bytes long.
    """
    least, most = PASSWORD_BYTES
    if not least <= len(password.encode()) <= most:
        raise Invalid(violations=(Violation(path, f"Must have {least} to {most} bytes in UTF-8"),))
