"""TLS to NATS: the files that a connection uses, and the reason why TLS failed."""

import ssl
from pathlib import Path

import msgspec


class BadTlsFile(OSError):
    """A certificate or key file is missing or cannot be used."""


class NoServerTls(OSError):
    """TLS is required, and the server offers none."""

    def __init__(self) -> None:
        super().__init__("the server offers no TLS")


class Tls(msgspec.Struct, frozen=True):
    """Paths of PEM files; empty: the system's authorities, no client certificate."""

    ca: str = ""
    certificate: str = ""
    # Empty: the key is in the file of the certificate.
    key: str = ""

    @property
    def is_required(self) -> bool:
        """Whether a server without TLS is refused; a URL with `tls://` requires TLS too."""
        return bool(self.ca or self.certificate)

    def context(self) -> ssl.SSLContext:
        """A new context with the present content of the files, so that replaced files are used from then on.

        Raises:
            BadTlsFile: a file is missing or cannot be used.
        """
        if self.key and not self.certificate:
            raise BadTlsFile(f"the key {self.key} has no certificate")
        for path in filter(None, (self.ca, self.certificate, self.key)):
            _check_readable(path)
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:
            raise BadTlsFile(f"{self.ca} holds no certificate of an authority") from error
        if self.certificate:
            try:
                # With the empty password an encrypted key fails; without one, the terminal would be asked for it.
                context.load_cert_chain(self.certificate, self.key or None, password="")
            except OSError as error:
                key = self.key or self.certificate
                raise BadTlsFile(f"{self.certificate} is no certificate that fits the key in {key}") from error
        return context


def tls_failure(error: Exception) -> str | None:
    """The reason of a TLS failure, in one line; None for other errors."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            return (error.reason or str(error)).replace("_", " ").lower()
        case BadTlsFile() | NoServerTls():
            return str(error)
        case _:
            return None


def _check_readable(path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise BadTlsFile(f"{path} cannot be read: {error.strerror}") from error
