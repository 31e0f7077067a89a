"""Authentication and authorization of gRPC calls: which service calls, and for which user; maps errors to gRPC.

The same for a call with its own gRPC stream and for one that is multiplexed with others.
"""

import logging
from collections.abc import Mapping

from grpclib import GRPCError

from contracts.errors import DeadlineExceeded, Forbidden, Unauthenticated, VestnikError
from contracts.services import Callers
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
        """The party that opened the stream, by its token and certificate.

        Raises:
            Unauthenticated: no valid token, or the certificate names another party.
        """
        metadata: Mapping[str, object] = stream.metadata or {}
        credential = self._verifier.credential(str(metadata.get("authorization") or ""))
        if not tls.shows(stream, credential.service):
            raise Unauthenticated("The service token and the certificate belong to different parties.")
        return credential

    def authenticate_call(self, authorization: str, party: str) -> Credential:
        """The credential of a multiplexed call on a stream that `party` opened.

        Raises:
            Unauthenticated: no valid token, or another party's than the one that opened the stream.
        """
        credential = self._verifier.credential(authorization)
        if credential.service != party:
            raise Unauthenticated("The service token and the stream belong to different parties.")
        return credential

    def user_field(self, credential: Credential, callers: Callers) -> str | None:
        """The field that must equal the token's user; None: the caller may name any user.

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
        Forbidden: the message names another user than the token.
    """
    if field is not None and getattr(message, field) != user:
        raise Forbidden("The service token does not name this user.")


def failure_of(error: Exception, method: str) -> GRPCError:
    """The gRPC error for the caller; called in the `except` block, since it logs unexpected errors with their stack."""
    match error:
        case GRPCError():
            return error
        case VestnikError():
            return to_grpc(error)
        case TimeoutError():
            return to_grpc(DeadlineExceeded())
        case _:
            # The edge: an unexpected error is logged here and never shown outside.
            log.exception("%s failed", method)
            return to_grpc(VestnikError())
