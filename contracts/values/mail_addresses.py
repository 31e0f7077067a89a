"""Folding of e-mail addresses: which spellings denote the same address.

Case is ignored throughout, although the standard lets a host distinguish it before the @. A domain in another script
is the same in its own letters and in the ASCII of DNS (`exämple.org`, `xn--exmple-cua.org`).
"""

import unicodedata


def folded_address(address: str) -> str:
    """The canonical spelling of the address; defined for any text."""
    local, at, domain = address.rpartition("@")
    if not at:
        return folded_text(address)
    try:
        return f"{folded_text(local)}@{ascii_domain(domain)}"
    except ValueError:
        return folded_text(address)


def spelled_out(address: str) -> str:
    """The folded address with its domain in its own script."""
    folded = folded_address(address)
    local, _, domain = folded.rpartition("@")
    if "xn--" not in domain:
        return folded
    import idna

    try:
        return f"{local}@{idna.decode(domain)}"
    except idna.IDNAError:
        return folded


def ascii_domain(domain: str) -> str:
    """The domain in the ASCII form of DNS, in lower case.

    Raises:
        ValueError: the text cannot be a domain.
    """
    return domain.lower() if domain.isascii() else _idna_encoded(domain)


def folded_text(text: str) -> str:
    """The folded text: equal for texts that differ only in case or in the composition of accents."""
    return unicodedata.normalize("NFC", text.casefold())


def _idna_encoded(domain: str) -> str:
    # Imported on first use: its tables take 3 MB, and most processes never see such a domain.
    import idna

    # Lower-cased letter by letter, so that a capital sigma never becomes a final sigma.
    small = "".join(map(str.lower, unicodedata.normalize("NFKC", domain)))
    try:
        return idna.encode(unicodedata.normalize("NFKC", small)).decode("ascii")
    except idna.IDNAError:
        # IDNA 2008 refuses some domains that IDNA 2003 accepts, such as emoji.
        return domain.encode("idna").decode("ascii").lower()
