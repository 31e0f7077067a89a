"""Fields of requests that several methods of auth share."""

from typing import Annotated

from msgspec import Meta

# Any length that a person can type: one that no password can have is answered as a wrong password.
TypedPassword = Annotated[str, Meta(min_length=1, max_length=1024)]
# The client's, as the gateway knows it; may be empty.
NetworkAddress = Annotated[str, Meta(max_length=100, pattern=r"^[^\x00]*\Z")]
