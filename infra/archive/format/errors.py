"""What can be wrong with a file that should be an export; each says what and where."""

from infra.archive.format.layout import VERSION
from infra.operator_errors import OperatorError


class NotAnExport(OperatorError):
    """The file is something else."""

    def __init__(self, name: str, size: int) -> None:
        what = "is not an export of Vestnik" if size else "is empty"
        super().__init__(f"{name} {what}")


class NewerFormat(OperatorError):
    """The file was written by a later release, in a way that this one does not know."""

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
    """Damage behind which nothing can be told from anything else."""


class Damaged(OperatorError):
    """The file cannot be imported; nothing was."""

    def __init__(self, name: str, damages: list[Damage]) -> None:
        self.damages = damages
        more = f" (and {len(damages) - 1} more: `vestnik import --check` names them)" if len(damages) > 1 else ""
        super().__init__(f"{name} is damaged {damages[0]}{more}; nothing was imported")
