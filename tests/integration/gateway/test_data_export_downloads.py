"""The download of a data export: an attachment, or the reason why there is none."""

from itertools import cycle

import httpx
import pytest

from contracts.errors import DataExportExpired, DataExportNotFound, DataExportNotMade, Unavailable
from contracts.rpc.vestnik.auth import v1 as auth
from tests.integration.gateway.conftest import Harness
from tests.integration.gateway.route_cases.case import AT, PEER

READY = auth.OpenDataExportResponse(
    export=auth.DataExport(export_id=PEER, state="ready", requested_at=AT, expires_at=AT, size=5, parts=2)
)


async def test_a_copy_of_ones_data_is_an_attachment_that_nothing_caches(harness: Harness) -> None:
    parts = cycle([b"abc", b"de"])

    async def read() -> auth.ReadDataExportResponse:
        return auth.ReadDataExportResponse(content=next(parts))

    harness.script.answers = {"open_data_export": READY, "read_data_export": read}
    answer = await harness.client.get(f"/v1/users/me/exports/{PEER}", headers=harness.signed_in)
    assert (answer.status_code, answer.content) == (200, b"abcde")
    assert {
        name: answer.headers.get(name)
        for name in ("content-type", "content-length", "content-disposition", "cache-control", "x-content-type-options")
    } == {
        "content-type": "application/zip",
        "content-length": "5",
        "content-disposition": 'attachment; filename="vestnik-2026-01-01.zip"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    parts_read = [asked.part for _, asked, _ in harness.script.asked if isinstance(asked, auth.ReadDataExportRequest)]
    assert parts_read == [0, 1]
    answers = [await harness.client.get(f"/v1/users/me/exports/{PEER}", headers=harness.signed_in) for _ in range(10)]
    assert [answer.status_code for answer in answers[-2:]] == [200, 429]
    opened = next(asked for _, asked, _ in harness.script.asked if isinstance(asked, auth.OpenDataExportRequest))
    assert (opened.user_id, opened.session_id) == (harness.user_id, harness.session_id)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DataExportExpired(), 410, "data_export_expired"),
        (DataExportNotMade(), 410, "data_export_failed"),
        (DataExportNotFound(), 404, "data_export_not_found"),
    ],
)
async def test_a_copy_that_cannot_be_downloaded_says_why(
    harness: Harness, error: Exception, status: int, code: str
) -> None:
    harness.script.answers = {"open_data_export": error}
    answer = await harness.client.get(f"/v1/users/me/exports/{PEER}", headers=harness.signed_in)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_download_ends_with_its_session(harness: Harness) -> None:
    parts = iter([b"abc", b"de"])

    async def read() -> auth.ReadDataExportResponse:
        content = next(parts)
        if content == b"de":
            harness.context.revocations.add(harness.session_id, "not_me")
        return auth.ReadDataExportResponse(content=content)

    harness.script.answers = {"open_data_export": READY, "read_data_export": read}
    with pytest.raises(httpx.TransportError):
        await harness.client.get(f"/v1/users/me/exports/{PEER}", headers=harness.signed_in)


async def test_a_store_that_does_not_answer_is_503_before_a_download_begins_and_breaks_it_off_later(
    harness: Harness,
) -> None:
    harness.script.answers = {"open_data_export": READY, "read_data_export": Unavailable(retry_after=2)}
    answer = await harness.client.get(f"/v1/users/me/exports/{PEER}", headers=harness.signed_in)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    parts = iter([b"abc"])

    async def read() -> auth.ReadDataExportResponse:
        for content in parts:
            return auth.ReadDataExportResponse(content=content)
        raise Unavailable(retry_after=2)

    harness.script.answers["read_data_export"] = read
    with pytest.raises(httpx.TransportError):
        await harness.client.get(f"/v1/users/me/exports/{PEER}", headers=harness.signed_in)
