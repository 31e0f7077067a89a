"""The table of who may call what: complete, and of things that exist."""

import importlib
import inspect
from collections.abc import Mapping
from typing import cast

import pytest
from grpclib.const import Handler

from contracts.rpc_permissions import RPC_PERMISSIONS, permitted_callers
from infra.rpc.server import Servable
from infra.security.secrets import PARTIES
from infra.settings import OPERATOR_SERVICE, SERVICES


def methods() -> dict[str, type]:
    """Every method of every service, with the type of its request."""
    found: dict[str, type] = {}
    for service in (*SERVICES, OPERATOR_SERVICE):
        module = importlib.import_module(f"contracts.rpc.vestnik.{service}.v1")
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if name.endswith("ServiceBase"):
                mapping: Mapping[str, Handler] = cast(Servable, kind()).__mapping__()
                found |= {path: handler.request_type for path, handler in mapping.items()}
    return found


def test_every_method_has_a_row_and_every_row_a_method() -> None:
    assert set(methods()) == set(RPC_PERMISSIONS)


@pytest.mark.parametrize("method", sorted(RPC_PERMISSIONS))
def test_a_row_names_services_and_a_field_of_the_request(method: str) -> None:
    for caller, field in permitted_callers(method).items():
        assert caller in PARTIES
        assert field is None or hasattr(methods()[method](), field)


def test_nobody_but_auth_begins_a_session() -> None:
    assert permitted_callers("/vestnik.session.v1.SessionService/CreateSession") == {"auth": "user_id"}


def test_a_method_without_a_row_is_served_to_nobody() -> None:
    with pytest.raises(LookupError, match=r"rpc_permissions\.py"):
        permitted_callers("/vestnik.auth.v1.AuthService/Unheard")
