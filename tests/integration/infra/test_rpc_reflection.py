"""Server reflection over a real socket: a program without our .proto files learns all that it needs for a call."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpclib.client import Channel
from grpclib.reflection.v1 import reflection_grpc, reflection_pb2
from grpclib.reflection.v1alpha import reflection_grpc as reflection_grpc_alpha
from grpclib.reflection.v1alpha import reflection_pb2 as reflection_pb2_alpha

from contracts.rpc.vestnik.auth.v1 import AuthServiceBase
from infra.embedded.ports import free_port
from infra.rpc.server import RpcServer
from infra.security.secrets import Secrets

VERSIONS = [(reflection_grpc, reflection_pb2), (reflection_grpc_alpha, reflection_pb2_alpha)]


@pytest_asyncio.fixture
async def channel(tmp_path: Path) -> AsyncIterator[Channel]:
    server = RpcServer("auth", [AuthServiceBase()], secrets=Secrets.create(tmp_path / "secrets"))
    port = free_port()
    await server.start("127.0.0.1", port)
    channel = Channel("127.0.0.1", port)
    yield channel
    channel.close()
    await server.drain(1.0)


@pytest.fixture(params=VERSIONS, ids=["v1", "v1alpha"])
def version(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401 - two modules of grpclib
    return request.param


async def ask(channel: Channel, version: Any, **question: str) -> Any:  # noqa: ANN401 - grpclib's own
    grpc, pb2 = version
    stub = grpc.ServerReflectionStub(channel)
    [answer] = await stub.ServerReflectionInfo([pb2.ServerReflectionRequest(**question)], timeout=60)
    return answer


def files(answer: Any) -> list[FileDescriptorProto]:  # noqa: ANN401 - grpclib's own
    assert not answer.HasField("error_response"), answer
    return [
        FileDescriptorProto.FromString(serialized)
        for serialized in answer.file_descriptor_response.file_descriptor_proto
    ]


async def test_every_service_that_is_named_is_described_too(channel: Channel, version: Any) -> None:  # noqa: ANN401
    named = (await ask(channel, version, list_services="")).list_services_response.service
    assert "vestnik.auth.v1.AuthService" in [listed.name for listed in named]
    for listed in named:
        described = files(await ask(channel, version, file_containing_symbol=listed.name))
        services = {f"{file.package}.{service.name}": service for file in described for service in file.service}
        assert services[listed.name].method, listed.name


async def test_what_a_file_imports_is_described_by_its_name(channel: Channel, version: Any) -> None:  # noqa: ANN401
    waiting = files(await ask(channel, version, file_containing_symbol="vestnik.auth.v1.AuthService"))
    seen = set()
    while waiting:
        file = waiting.pop()
        seen.add(file.name)
        for name in set(file.dependency) - seen:
            waiting += files(await ask(channel, version, file_by_filename=name))
    assert "vestnik/session/v1/session.proto" in seen


async def test_a_message_is_found_by_its_name(channel: Channel, version: Any) -> None:  # noqa: ANN401
    [file] = files(await ask(channel, version, file_containing_symbol="vestnik.auth.v1.LoginRequest"))
    [login] = [message for message in file.message_type if message.name == "LoginRequest"]
    assert {"login", "password"} <= {field.name for field in login.field}


async def test_what_is_not_there_is_not_found(channel: Channel, version: Any) -> None:  # noqa: ANN401
    for question in ({"file_containing_symbol": "vestnik.auth.v1.Nothing"}, {"file_by_filename": "nothing.proto"}):
        answer = await ask(channel, version, **question)
        assert answer.error_response.error_message == "not found"
