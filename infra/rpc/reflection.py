"""Server reflection: what grpcurl and its like ask a server, so that they can call it without the .proto files."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpclib.reflection.service import ServerReflection

from contracts.rpc.google_proto_descriptor_pool import default_google_proto_descriptor_pool

F = TypeVar("F")


class _Described:
    """The descriptors of our own services, which are in a pool of theirs, and those of health, which are in Google's.

    The reflection of grpclib asks one pool alone: with the default one it names our services and knows nothing of them.
    Its questions have the names that a pool's methods have.
    """

    def FindFileByName(self, name: str) -> FileDescriptor:  # noqa: N802
        return _first(lambda pool: pool.FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802
        return _first(lambda pool: pool.FindFileContainingSymbol(symbol))

    def FindMessageTypeByName(self, name: str) -> Descriptor:  # noqa: N802
        return _first(lambda pool: pool.FindMessageTypeByName(name))

    def FindExtensionByNumber(self, message: Descriptor, number: int) -> FieldDescriptor:  # noqa: N802
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Descriptor) -> list[FieldDescriptor]:  # noqa: N802
        return message.file.pool.FindAllExtensions(message)


def with_reflection(services: Collection[Any]) -> list[Any]:
    """The services, and reflection of them in its two versions, as grpclib serves them."""
    return ServerReflection.extend(services, pool=_Described())


def _first(find: Callable[[DescriptorPool], F]) -> F:
    try:
        return find(default_google_proto_descriptor_pool)
    except KeyError:
        return find(descriptor_pool.Default())
