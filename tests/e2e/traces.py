"""Searches files for texts that must be in none of them."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path


class Traces:
    """Texts in the forms that a file may have them in: in any case, and in Base64."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._lower = {text: text.lower().encode() for text in texts}
        self._base64 = {text: tuple(_encoded(text)) for text in self._lower}

    def within(self, content: bytes) -> set[str]:
        """The texts that the content has."""
        lower = content.lower()
        return {text for text, form in self._lower.items() if form in lower} | {
            text for text, forms in self._base64.items() if any(form in content for form in forms)
        }

    def files(self, *roots: Path) -> dict[str, set[str]]:
        """The texts that files have, by file."""
        by_file = {str(path): self.within(path.read_bytes()) for root in roots for path in _files(root)}
        return {path: texts for path, texts in by_file.items() if texts}


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    else:
        yield from (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())


def _encoded(text: str) -> Iterator[bytes]:
    """The text within a longer one in Base64, at each of the three places that it may begin at."""
    raw = text.encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        # The first and last characters also depend on what is around the text.
        yield encoded[(0, 2, 3)[before] : len(encoded) - 4]
