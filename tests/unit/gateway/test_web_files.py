"""The messenger's files: which bytes who gets, under which tag."""

import gzip

import pytest
from starlette.datastructures import Headers

from services.gateway.web_files import WebFile

CONTENT = b"body { color: black }" * 20
FILE = WebFile(CONTENT, "text/css")


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, GZIP ; q=0.5", True),
        ("*", True),
        ("gzip;q=1.000, *;q=0", True),
        ("", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("gzip;q=often", False),
        ("gzipped", False),
    ],
)
def test_a_file_comes_compressed_to_whoever_takes_it_so(accepted: str, packed: bool) -> None:
    answer = FILE.answer(Headers({"accept-encoding": accepted}))
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
    assert (gzip.decompress(answer.body) if packed else answer.body) == CONTENT


def test_the_compressed_and_the_plain_bytes_have_tags_of_their_own() -> None:
    plain, packed = (FILE.answer(Headers({"accept-encoding": accepted})) for accepted in ("", "gzip"))
    assert plain.headers["etag"] != packed.headers["etag"]
    for accepted, tag, status in (
        ("", plain.headers["etag"], 304),
        ("gzip", packed.headers["etag"], 304),
        ("gzip", plain.headers["etag"], 200),
        ("", packed.headers["etag"], 200),
    ):
        answer = FILE.answer(Headers({"accept-encoding": accepted, "if-none-match": tag}))
        assert answer.status_code == status
        if status == 304:
            assert answer.headers["etag"] == tag
            assert "content-encoding" not in answer.headers
