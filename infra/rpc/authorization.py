"""Who calls, and whether that service may make this very call in that user's name; errors are mapped once, here.

The same for a call by itself and for one that is carried with others on a stream.
"""

import logging
from collections.abc import Mapping

from grpclib import GRPCError

from contracts.errors import DeadlineExceeded, Forbidden, Unauthenticated, VestnikError
from contracts.rpc_permissions import Callers
from infra.rpc import tls
from infra.rpc.error_mapping import to_grpc
from infra.rpc.service_tokens import Credential, Verifier
from infra.rpc.transport.framing import Stream
from infra.security.secrets import Secrets

log = logging.getLogger(__name__)


class CallAuthorizer:
    def __init__(self, service: str, secrets: Secrets) -> None:
        self._service = service
        self._verifier = Verifier(service, secrets)

    def authenticate_stream(self, stream: Stream) -> Credential:
        """Whose stream it is, by the token and the certificate that it came with.

        Raises:
            Unauthenticated: no good token, or another party's than the certificate.
        """
        metadata: Mapping[str, object] = stream.metadata or {}
        credential = self._verifier.credential(str(metadata.get("authorization") or ""))
        if not tls.shows(stream, credential.service):
            raise Unauthenticated("The service token is another party's than the certificate.")
        return credential

    def authenticate_call(self, authorization: str, party: str) -> Credential:
        """What the token of a call proves that came on a stream of the party's.

        Raises:
            Unauthenticated: no good token, or another party's than the one that opened the stream.
        """
        credential = self._verifier.credential(authorization)
        if credential.service != party:
            raise Unauthenticated("The service token is another party's than the stream.")
        return credential

    def user_field(self, credential: Credential, callers: Callers) -> str | None:
        """The field that must hold the user of the token; None: any user may be asked about.

        Raises:
            Forbidden: the service may not make this call.
        """
        try:
            return callers[credential.service]
        except KeyError:
            raise Forbidden(f"{credential.service} may not call this at {self._service}.") from None


def check_user(message: object, field: str | None, user: str | None) -> None:
    """
    Raises:
        Forbidden: the message speaks for another user than the token.
    """
    if field is not None and getattr(message, field) != user:
        raise Forbidden("The service token does not name this user.")


def failure_of(error: Exception, method: str) -> GRPCError:
    """What the caller is told; called where the error was caught."""
    match error:
        case GRPCError():
            return error
        case VestnikError():
            return to_grpc(error)
        case TimeoutError():
            return to_grpc(DeadlineExceeded())
        case _:
            # The edge: whatever went wrong inside is logged here and never shown outside.
            log.exception("%s failed", method)
            return to_grpc(VestnikError())
