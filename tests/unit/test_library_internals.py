"""The internals of libraries that the code relies on: undocumented, so that any release may change them.

`pyproject.toml` bounds these libraries to the releases that were tried. Before raising a bound, run this test: it says
what has gone, where it is used, and what to do.
"""

import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("contracts", "streams", "projections", "services", "infra")
# Public despite the underscore.
NAMED_TUPLE = {"_asdict", "_fields", "_replace"}
ACCESS = re.compile(r"[\w)\]]\.(_[a-z]\w*)")
INHERITED = re.compile(r"super\(\)\.(_[a-z]\w*)")
# By name: functions, classes, variables and fields, attributes of `self`.
DEFINITION = re.compile(
    r"\b(?:def|class) (_\w+)|^ *(_\w+)(?:: | = )|\bself\.(_\w+)(?=(?:, self\.\w+)*(?:: | = ))", re.MULTILINE
)


class Internal(NamedTuple):
    distribution: str
    # `module` or `module:Class`.
    owner: str
    # Attributes and methods; of a method whose parameters matter also those, as in `name(first, second)`.
    names: str
    used_in: str
    remedy: str


CLIENT = "streams/jetstream/client.py"
FAILOVER = "streams/jetstream/failover.py"
LIMITS = "infra/rpc/transport/connection_limits.py"
MULTIPLEX = "infra/rpc/multiplex/stream.py and server.py"
HTTP = "services/gateway/server/http_protocol.py"
FAST_PATH = "services/gateway/server/fast_path.py"
WEBSOCKET = "services/gateway/server/websocket_protocol.py"
INTERNALS = (
    Internal(
        "nats-py",
        "nats.aio.client:Client",
        "_pending _pending_data_size _max_pending_size _flush_queue _flush_pending(force_flush) _status _max_payload "
        "stats CONNECTED",
        f"{CLIENT}, Client.publish",
        "adapt Client.publish, or delete it: the library's works too, but costs more CPU per message",
    ),
    Internal(
        "nats-py",
        "nats.aio.client:Client",
        "_process_connect_init _transport",
        f"{CLIENT}, Client",
        "find where the library upgrades a connection to TLS",
    ),
    Internal(
        "nats-py",
        "nats.aio.client:Client",
        "_ps _process_msg(sid,subject,reply,data,headers) _remove_sub(sid,max_msgs)",
        f"{CLIENT}, DirectParser",
        "adapt DirectParser, or do not install it: subscribe_direct then uses the library's callback",
    ),
    Internal(
        "nats-py",
        "nats.protocol.parser:Parser",
        "nc parse(data) reset()",
        f"{CLIENT}, DirectParser",
        "adapt DirectParser, or do not install it: subscribe_direct then uses the library's callback",
    ),
    Internal(
        "nats-py", "nats.aio.subscription:Subscription", "_id", f"{CLIENT}, subscribe_direct", "find its new name"
    ),
    Internal(
        "nats-py",
        "nats.aio.client:Client",
        "_pongs _send_command(cmd,priority) _send_ping(future) DISCONNECTED",
        f"{CLIENT}, Client._send_ping and Client.close",
        "find out whether a flush still overtakes pending data, and whether close still stops at an OSError",
    ),
    Internal(
        "nats-py",
        "nats.aio.client:Client",
        "ssl_context _process_info(info,initial_connection) _server_pool",
        f"{CLIENT}, Client.ssl_context and Client._process_info",
        "find where the library asks for its TLS context, and where it learns whether the server offers TLS",
    ),
    Internal(
        "nats-py",
        "nats.aio.client:Client",
        "_attempt_reconnect() _current_server _transport options _process_err(err_msg) _process_op_err(e) _error_cb "
        "force_reconnect()",
        FAILOVER,
        "find out where the library chooses the next server, and which errors close a connection for good",
    ),
    Internal(
        "nats-py",
        "nats.aio.client:Client",
        "_connect_command()",
        f"{FAILOVER}, _connect_command",
        "find out where the library writes its login, and whether it still sends that percent-encoded",
    ),
    Internal(
        "nats-py",
        "nats.aio.transport:TcpTransport",
        "_io_writer",
        f"{FAILOVER}, _abort",
        "find how to end a connection whose server accepts no data",
    ),
    Internal(
        "grpclib",
        "grpclib.server:Server",
        "_mapping _codec _status_details_codec _handlers _config _h2_config _server _server_closed_fut "
        "_protocol_factory() __gc_step__() __dispatch__",
        f"{LIMITS}, BoundedServer",
        "adapt BoundedServer; without it the number of connections is not limited",
    ),
    Internal(
        "grpclib",
        "grpclib.server:Handler",
        "_tasks _cancelled accept(stream,headers,release_stream) cancel(stream)",
        f"{LIMITS}, _Handler",
        "adapt _Handler; without it finished calls stay in memory, and calls without credential are not limited",
    ),
    Internal(
        "grpclib",
        "grpclib.protocol:EventsProcessor",
        "handler connection processors streams process_stream_reset(event) process_data_received(event) close(reason)",
        f"{LIMITS}, _Processor",
        "adapt _Processor; without it a caller's resets are not counted",
    ),
    Internal("grpclib", "grpclib.protocol:H2Protocol", "connection processor", f"{LIMITS}, _Bounded", "adapt _Bounded"),
    Internal(
        "grpclib",
        "grpclib.protocol:Connection",
        "_connection flush() data_sent",
        f"{LIMITS}, _Bounded; infra/rpc/transport/pings.py",
        "find where the connection keeps the one of h2",
    ),
    Internal(
        "grpclib",
        "grpclib.protocol:Stream",
        "recv_data(size) data_received closable reset_nowait(error_code) __terminated__(reason)",
        f"{LIMITS}; infra/rpc/transport/framing.py; {MULTIPLEX}",
        "adapt the readers of frames",
    ),
    Internal(
        "grpclib",
        "grpclib.server:Stream",
        "_stream _codec _recv_type",
        f"infra/rpc/transport/framing.py; {MULTIPLEX}",
        "find how a handler reaches the bytes of its stream",
    ),
    Internal(
        "grpclib",
        "grpclib.client:Stream",
        "_stream _wrapper",
        MULTIPLEX,
        "find how a call reaches the bytes of its stream",
    ),
    Internal(
        "grpclib",
        "grpclib.client:Channel",
        "_connected __connect__()",
        "infra/rpc/transport/channel.py",
        "find out how a channel knows that its connection was lost",
    ),
    Internal(
        "h2",
        "h2.connection:H2Connection",
        "_closed_streams state_machine close_connection(error_code,additional_data,last_stream_id)",
        f"{LIMITS}, _Bounded",
        "bound the memory of ended streams in another way",
    ),
    Internal(
        "h2", "h2.utilities", "SizeLimitDict", f"{LIMITS}, _Bounded", "bound the memory of ended streams otherwise"
    ),
    Internal(
        "betterproto2",
        "betterproto2:Message",
        "_betterproto",
        "infra/rpc/transport/protobuf_codec.py, _class_of",
        "find how a message class names the classes of its fields",
    ),
    Internal(
        "eventsourcing",
        "eventsourcing.persistence:Subscription",
        "_has_been_stopped stop()",
        "streams/persistence/subscription.py",
        "keep a flag of our own in JetStreamSubscription.stop",
    ),
    Internal(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol",
        "handle_websocket_upgrade() send_400_response(msg) on_message_begin() on_url(url) on_header(name,value) "
        "on_headers_complete() on_body(body) on_message_complete() pause_writing() resume_writing() "
        "loop transport client flow parser scope headers url cycle server_state",
        f"{HTTP}, BoundedProtocol",
        "adapt BoundedProtocol: it holds the limits on size and duration of requests",
    ),
    Internal(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl:RequestResponseCycle",
        "scope transport flow default_headers message_event on_response disconnected keep_alive "
        "waiting_for_100_continue body more_body response_started response_complete",
        FAST_PATH,
        "adapt it, or do not expose it to the application: it then receives and sends through uvicorn",
    ),
    Internal("uvicorn", "uvicorn.protocols.http.httptools_impl", "STATUS_LINE", FAST_PATH, "make them there"),
    Internal(
        "uvicorn",
        "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol",
        "conn writable frames transport default_headers scope close_sent disconnected "
        "handshake_initiated handshake_complete handle_connect(event) handle_cont(event) handle_parser_exception() "
        "send(message)",
        f"{WEBSOCKET}, BoundedWebSocket",
        "adapt BoundedWebSocket: it holds the limits on messages",
    ),
    Internal(
        "uvicorn",
        "uvicorn._types",
        "ASGISendEvent",
        WEBSOCKET,
        "they are only types: take those of asgiref, or write them",
    ),
    Internal(
        "uvicorn",
        "uvicorn:Server",
        "capture_signals()",
        "services/gateway/server/uvicorn_server.py",
        "find how to keep uvicorn's hands off signals",
    ),
    Internal(
        "websockets",
        "websockets.server:ServerProtocol",
        "accept(request) fail(code,reason) handshake_exc state",
        f"{WEBSOCKET}, BoundedWebSocket",
        "adapt BoundedWebSocket",
    ),
)


def missing(internal: Internal) -> Iterator[str]:
    """The names of the row that no longer exist, or that have other parameters."""
    module, _, kind = internal.owner.partition(":")
    try:
        owner = importlib.import_module(module)
        owner = getattr(owner, kind) if kind else owner
    except (ImportError, AttributeError):
        yield f"{internal.owner} has gone"
        return
    source = "".join(sources(owner)) if isinstance(owner, type) else ""
    for entry in internal.names.split():
        name, _, parameters = entry.removesuffix(")").partition("(")
        try:
            attribute = inspect.getattr_static(owner, name)
        except AttributeError:
            if not re.search(rf"^    {name}: |\bself\.{name}\b[^=\n]*=(?!=)", source, re.MULTILINE):
                yield f"{internal.owner} has no `{name}` any more"
            continue
        if parameters and (names := list(inspect.signature(attribute).parameters)[1:]) != parameters.split(","):
            yield f"`{name}` of {internal.owner} takes other parameters: {names}"


def sources(kind: type) -> Iterator[str]:
    """The sources of the class and its bases, which show the attributes of instances."""
    library = kind.__module__.partition(".")[0]
    yield from (inspect.getsource(base) for base in kind.__mro__ if base.__module__.partition(".")[0] == library)


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: internal.owner)
def test_an_internal_that_the_code_relies_on_is_still_there(internal: Internal) -> None:
    release = f"{internal.distribution} {importlib.metadata.version(internal.distribution)}"
    faults = "; ".join(missing(internal))
    assert not faults, f"{release}: {faults}. Used in {internal.used_in}. What to do: {internal.remedy}."


def test_every_private_name_of_a_library_in_the_code_is_listed_here() -> None:
    listed = {name.partition("(")[0] for internal in INTERNALS for name in internal.names.split()}
    used_names: set[str] = set()
    defined_names: set[str] = set()
    # Overriding a method of a library defines its name here, too.
    inherited: set[str] = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        # Generated code uses what its generator's release has.
        if path.is_relative_to(ROOT / "contracts" / "rpc"):
            continue
        text = path.read_text(encoding="utf-8")
        used_names.update(ACCESS.findall(text))
        defined_names.update(*DEFINITION.findall(text))
        inherited.update(INHERITED.findall(text))
    assert (used_names - defined_names - NAMED_TUPLE | inherited) - listed == set()
