"""Texts of the files that show a read model to clients, each a format string."""

ITEM = '''"""The read model `{name}` as JSON: key, row and cursor."""

from datetime import date

import msgspec


class {class_name}Key(msgspec.Struct, frozen=True):
    """In the path of the route."""

    day: date


class {class_name}Item({class_name}Key, frozen=True):
    """A row as clients receive it; its fields are the columns of the query."""

{fields}


class {class_name}Cursor({class_name}Key, frozen=True):
    """The columns by which rows are sorted, of the last row of a page."""
'''

PROTO = """syntax = "proto3";

package vestnik.{service}.v1;

// Shows the read model `{name}`: a row by its key, and pages of rows.
// Rows are JSON in UTF-8, as clients receive them (contracts/reads/{name}.py).
// `position` is an encoded position (contracts/positions.py).

message {class_name}RowRequest {{
  // The user who asks.
  string user_id = 1;
  // The fields of its key as text, in their order.
  repeated string key = 2;
}}

message {class_name}RowResponse {{
  // An object.
  bytes item = 1;
  string position = 2;
}}

message {class_name}PageRequest {{
  // The user who asks.
  string user_id = 1;
  int32 limit = 2;
  string cursor = 3;
}}

message {class_name}PageResponse {{
  // An array.
  bytes items = 1;
  // Empty on the last page.
  string next = 2;
  string position = 3;
}}

service {class_name}Service {{
  rpc GetRow({class_name}RowRequest) returns ({class_name}RowResponse);
  rpc ListRows({class_name}PageRequest) returns ({class_name}PageResponse);
}}
"""

SERVER = '''"""Shows the read model `{name}` to clients: a row by its key, and pages of rows."""

from typing import ClassVar

import msgspec

from contracts.errors import NotFound
from contracts.reads.{name} import {class_name}Cursor, {class_name}Item, {class_name}Key
from contracts.rpc.vestnik.{service}.v1 import (
    {class_name}PageRequest,
    {class_name}PageResponse,
    {class_name}RowRequest,
    {class_name}RowResponse,
    {class_name}ServiceBase,
)
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import PAGE_LIMIT, Id, PageLimit
from contracts.values.validation import validated
from infra.rpc.call_context import current
from projections.engine.read_model import ReadModel
from projections.engine.read_servers import to_json

# In both, `%(caller)s` is the user who asks.
_ROW = """
    SELECT day, {columns}
    FROM {{{name}}}
    WHERE day = %(day)s
"""
# The latest first; on the first page the cursor's values are null.
_PAGE = """
    SELECT day, {columns}
    FROM {{{name}}}
    WHERE %(day)s::date IS NULL OR day < %(day)s
    ORDER BY day DESC LIMIT %(limit)s
"""


class _Row({class_name}Key, frozen=True):
    # The user who asks.
    caller: Id


class _Page(msgspec.Struct, frozen=True):
    caller: Id
    limit: PageLimit


_FIRST_PAGE = dict.fromkeys({class_name}Cursor.__struct_fields__)


class {class_name}Reads({class_name}ServiceBase):
    READ_MODEL: ClassVar[str] = "{name}"

    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def get_row(self, message: {class_name}RowRequest) -> {class_name}RowResponse:
        values = dict(zip({class_name}Key.__struct_fields__, message.key, strict=False))
        row = validated(_Row, {{**values, "caller": message.user_id}}, strict=False)
        await self._model.wait_for(current().position)
        rows, position = await self._model.select({class_name}Item, _ROW, msgspec.structs.asdict(row))
        if not rows:
            raise NotFound
        return {class_name}RowResponse(item=to_json(rows[0]), position=position.encode())

    async def list_rows(self, message: {class_name}PageRequest) -> {class_name}PageResponse:
        page = validated(_Page, {{"caller": message.user_id, "limit": message.limit or PAGE_LIMIT}})
        after = decode_cursor(message.cursor, {class_name}Cursor)
        await self._model.wait_for(current().position)
        values = msgspec.structs.asdict(after) if after else _FIRST_PAGE
        values = {{**values, "caller": page.caller, "limit": page.limit + 1}}
        rows, position = await self._model.select({class_name}Item, _PAGE, values)
        items = rows[: page.limit]
        is_last = len(rows) == len(items)
        following = None if is_last else msgspec.convert(items[-1], {class_name}Cursor, from_attributes=True)
        return {class_name}PageResponse(
            items=to_json(items),
            next=encode_cursor(following) if following else "",
            position=position.encode(),
        )
'''

ROUTES = '''"""Routes of the read model `{name}`: a row by its key, and pages of rows."""

from contracts.errors import NotFound
from contracts.reads.{name} import {class_name}Item, {class_name}Key
from contracts.rpc.vestnik.{service}.v1 import {class_name}PageRequest, {class_name}RowRequest, {class_name}ServiceStub
from services.gateway.http.endpoint import (
    JSON,
    AnyEndpoint,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Page,
    Request,
    Response,
    page_of,
    path_of,
)
from services.gateway.http.query_params import PageQuery

_TAG = "{title}"


async def get_{name}(incoming: Request[NoQuery, NoBody]) -> Response:
    {service} = incoming.context.remotes.{service}
    request = {class_name}RowRequest(user_id=incoming.caller.user_id, key=list(incoming.path.values()))
    answer = await {service}.read({service}.stub_of({class_name}ServiceStub).get_row, request)
    return Response(body=answer.item, headers={{"content-type": JSON}}, position=answer.position)


async def list_{name}(incoming: Request[PageQuery, NoBody]) -> Response:
    {service}, query = incoming.context.remotes.{service}, incoming.query
    request = {class_name}PageRequest(user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor)
    answer = await {service}.read({service}.stub_of({class_name}ServiceStub).list_rows, request)
    body = page_of(answer.items, answer.next or None)
    return Response(body=body, headers={{"content-type": JSON}}, position=answer.position)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path=path_of("{path}", {class_name}Key),
        path_types={class_name}Key,
        tag=_TAG,
        summary="{title}: one row",
        handler=get_{name},
        query=NoQuery,
        body=NoBody,
        answers={{200: DocumentedResponse(description="The row.", body={class_name}Item)}},
        errors=(NotFound,),
        reads=True,
    ),
    Endpoint(
        method="GET",
        path="{path}",
        tag=_TAG,
        summary="{title}: all rows",
        handler=list_{name},
        query=PageQuery,
        body=NoBody,
        answers={{200: DocumentedResponse(description="A page of rows.", body=Page[{class_name}Item])}},
        reads=True,
    ),
)
'''

TEST = '''"""What clients get of the read model `{name}`."""

{imports}
from projections.{name} import {class_name}
from tests.integration.reads.conftest import ShowReadModel

PATH = "{path}"


async def test_a_row_is_read_by_its_key(shown: ShowReadModel) -> None:
    model = await shown({class_name})
    await model.happened({first}, at="2026-01-31T12:00:00Z")
    assert await model.get(f"{{PATH}}/2026-01-31") == {first_row}
    assert await model.refused(f"{{PATH}}/2026-02-01") == (404, "not_found")
    assert await model.refused(f"{{PATH}}/no-day") == (422, "invalid")
    assert await model.refused(f"{{PATH}}/2026-01-31", signed_in=False) == (401, "unauthenticated")


async def test_rows_are_listed_page_by_page(shown: ShowReadModel) -> None:
    model = await shown({class_name})
    assert await model.pages(PATH, limit=1) == [[]]
    await model.happened({first}, at="2026-01-31T12:00:00Z")
    await model.happened({second}, at="2026-02-01T00:00:00Z")
    assert await model.pages(PATH, limit=1) == [[{second_row}], [{first_row}]]
    assert await model.pages(PATH, limit=2) == [[{second_row}, {first_row}]]
    assert await model.refused(f"{{PATH}}?cursor=none") == (422, "invalid")
    assert await model.refused(PATH, signed_in=False) == (401, "unauthenticated")

{samples}'''
