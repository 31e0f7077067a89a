"""gRPC server reflection, with which tools such as grpcurl call a server without the .proto files."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpclib.reflection.service import ServerReflection

from contracts.rpc.google_proto_descriptor_pool import default_google_proto_descriptor_pool

F = TypeVar("F")


class _Described:
    """Finds descriptors of our services in their own pool, and those of health in Google's default pool.

    grpclib's reflection uses a single pool: with the default one it lists our services but cannot describe them.
    The method names are those of a descriptor pool.
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
    """The services plus reflection in its two versions, as grpclib serves them."""
    return ServerReflection.extend(services, pool=_Described())


def _first(find: Callable[[DescriptorPool], F]) -> F:
    try:
        return find(default_google_proto_descriptor_pool)
    except KeyError:
        return find(descriptor_pool.Default())
