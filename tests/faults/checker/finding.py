"""What the checks return, and the bounds that they allow."""

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One broken promise."""

    # The name of the check, such as `messages.lost`.
    check: str
    text: str
    # When it happened, for a finding about a moment.
    at: float | None = None

    def __str__(self) -> str:
        return f"{self.check}: {self.text}"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and sizes that docs/reference/guarantees.md allows, with room for a busy machine."""

    # From the answer to a removal until the other nodes refuse.
    removal: float = 3.0
    # From the answer to a revocation until its tokens are refused behind a cut link, and a second for the gateway.
    revocation: float = 6.0
    # Until a friendship is known wherever its people ask.
    friendship: float = 10.0
    # The longest time to an answer; 10 seconds are promised for what no frozen process or cut link delays.
    answer: float = 45.0
    # For how long a refresh token is served again while its successor is unused.
    refresh_grace: float = 30.0
    # From the end of the last fault until every process is ready again.
    back: float = 120.0
    # Whether a mail may come twice with the same Message-ID: after a crash.
    mails_may_repeat: bool = True
    # What a process may hold at the end of the run more than after its start: the larger one of the two counts.
    memory_factor: float = 1.25
    memory_bytes: int = 96 * 2**20
    files_factor: float = 1.25
    files: int = 64
