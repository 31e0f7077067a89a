"""The registry of the services: complete, without collisions, and naming only services and fields that exist."""

import importlib
import inspect
from collections.abc import Mapping
from typing import cast

import pytest
from grpclib.const import Handler

from contracts.services import (
    DEFAULT_ADDRESSES,
    REGISTRY,
    RPC_PERMISSIONS,
    RPC_SERVICES,
    dependencies,
    permitted_callers,
)
from infra.rpc.server import Servable


def methods() -> dict[str, type]:
    """Every method of every service, with the type of its request."""
    request_types: dict[str, type] = {}
    for service in RPC_SERVICES:
        module = importlib.import_module(f"contracts.rpc.vestnik.{service}.v1")
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if name.endswith("ServiceBase"):
                mapping: Mapping[str, Handler] = cast(Servable, kind()).__mapping__()
                request_types |= {path: handler.request_type for path, handler in mapping.items()}
    return request_types


def test_every_method_has_a_row_and_every_row_a_method() -> None:
    assert set(methods()) == set(RPC_PERMISSIONS)


@pytest.mark.parametrize("method", sorted(RPC_PERMISSIONS))
def test_a_row_names_services_and_a_field_of_the_request(method: str) -> None:
    for caller, field in permitted_callers(method).items():
        assert caller in REGISTRY
        assert field is None or hasattr(methods()[method](), field)


def test_nobody_but_auth_begins_a_session() -> None:
    assert permitted_callers("/vestnik.session.v1.SessionService/CreateSession") == {"auth": "user_id"}


def test_a_method_without_a_row_is_served_to_nobody() -> None:
    with pytest.raises(LookupError, match=r"contracts/services\.py"):
        permitted_callers("/vestnik.auth.v1.AuthService/Unheard")


def test_a_service_depends_on_those_whose_methods_it_may_call() -> None:
    assert dependencies("auth") == ("session", "profile", "contact", "messaging")
    assert dependencies("messaging") == ("auth", "contact")
    assert dependencies("operator") == ("auth", "session", "contact")
    assert dependencies("contact") == ("auth", "messaging")


def test_no_two_services_have_a_port_in_common() -> None:
    ports = [port for service in REGISTRY.values() for port in (service.port, service.rest_port) if port]
    assert len(set(ports)) == len(ports)
    assert len(set(DEFAULT_ADDRESSES.values())) == len(DEFAULT_ADDRESSES)
