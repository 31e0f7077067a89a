"""Which spellings of an e-mail address are the same one.

Upper and lower case are the same throughout, though the standard would let a host tell them apart before the @. A
domain in another script is the same in its own letters and in the ASCII of DNS (`exämple.org`, `xn--exmple-cua.org`).
"""

import unicodedata


def folded_address(address: str) -> str:
    """The spelling that stands for all spellings of the address; any text has one."""
    local, at, domain = address.rpartition("@")
    if not at:
        return folded_text(address)
    try:
        return f"{folded_text(local)}@{ascii_domain(domain)}"
    except ValueError:
        return folded_text(address)


def spelled_out(address: str) -> str:
    """The folded address with its domain in its own letters."""
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
    """The domain as DNS has it, in lower case.

    Raises:
        ValueError: there can be no such domain.
    """
    return domain.lower() if domain.isascii() else _idna_encoded(domain)


def folded_text(text: str) -> str:
    """Equal for texts that differ in case or in how their accents are composed."""
    return unicodedata.normalize("NFC", text.casefold())


def _idna_encoded(domain: str) -> str:
    # Imported where it is needed: its tables take 3 MB, and most processes never meet such a domain.
    import idna

    # Letter by letter: a capital sigma is never the other small one, wherever it stands.
    small = "".join(map(str.lower, unicodedata.normalize("NFKC", domain)))
    try:
        return idna.encode(unicodedata.normalize("NFKC", small)).decode("ascii")
    except idna.IDNAError:
        # There are domains that IDNA 2008 refuses and IDNA 2003 knew, such as pictures.
        return domain.encode("idna").decode("ascii").lower()
