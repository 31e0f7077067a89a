"""The errors of an export file; each says what is wrong and where."""

from infra.archive.format.layout import VERSION
from infra.operator_errors import OperatorError


class NotAnExport(OperatorError):
    """The file is not an export."""

    def __init__(self, name: str, size: int) -> None:
        what = "is not an export of Vestnik" if size else "is empty"
        super().__init__(f"{name} {what}")


class NewerFormat(OperatorError):
    """The file was written by a later release, in a format that this one cannot read."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            f"{name} has format {version}, and this release reads up to {VERSION}: use the release that wrote it"
        )


class Damage(OperatorError):
    """A part of the file is not as it was written."""

    def __init__(self, offset: int, what: str) -> None:
        self.offset = offset
        self.what = what
        super().__init__(f"at byte {offset:,}: {what}")


class Unreadable(Damage):
    """Damage after which the rest of the file cannot be interpreted."""


class Damaged(OperatorError):
    """The file is damaged and cannot be imported."""

    def __init__(self, name: str, damages: list[Damage]) -> None:
        self.damages = damages
        more = f" (and {len(damages) - 1} more: `vestnik import --check` names them)" if len(damages) > 1 else ""
        super().__init__(f"{name} is damaged {damages[0]}{more}; nothing was imported")
