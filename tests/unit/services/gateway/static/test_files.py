"""The messenger's files: which bytes a client gets, under which tag, and which of them the service worker keeps."""

import base64
import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from services.gateway.route_table import ENDPOINTS
from services.gateway.static.files import FOLDER, RELEASE_HEADER, WebFile, WebFiles

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
def test_a_file_is_compressed_for_clients_that_accept_it(accepted: str, packed: bool) -> None:
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


def test_the_worker_keeps_every_file_of_the_messenger_and_none_of_the_operators_page() -> None:
    files = WebFiles()
    kept = worker_constants(files)["FILES"]
    scripts = {f"/web/{path.relative_to(FOLDER).as_posix()}" for path in FOLDER.rglob("*.js")}
    wanted = {path for path in scripts if not path.startswith(("/web/js/ops/", "/web/sw.js"))}
    wanted |= {"/", "/web/style.css", "/web/icon.svg", "/web/manifest.webmanifest"}
    assert set(kept) == wanted
    for path, integrity in kept.items():
        assert integrity == f"sha256-{base64.b64encode(hashlib.sha256(content(files, path)).digest()).decode()}"


def test_the_page_has_the_window_for_edits_and_another_one_makes_another_release() -> None:
    files = WebFiles(edit_window_hours=5)
    assert b'<html lang="en" data-edit-window-hours="5">' in content(files, "/")
    assert files.release != WebFiles().release


@pytest.mark.parametrize(("changed", "another"), [("js/dom.js", True), ("sw.js", True), ("js/ops/main.js", False)])
def test_every_change_of_what_is_kept_makes_another_release(changed: str, another: bool, tmp_path: Path) -> None:
    before = WebFiles()
    shutil.copytree(FOLDER, tmp_path / "web")
    with (tmp_path / "web" / changed).open("a") as file:
        file.write("// changed")
    after = WebFiles(tmp_path / "web")
    assert (after.release != before.release) == another
    for files in (before, after):
        assert worker_constants(files)["RELEASE"] == files.release
        page = files.find("/")
        assert page is not None
        assert page.answer(Headers({})).headers[RELEASE_HEADER] == files.release


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/people", True),
        ("/notifications", True),
        ("/settings", True),
        ("/chat/0198d2c6-5d5e-7aaa-8bbb-0123456789ab", True),
        ("/people/", False),
        ("/people/settings", False),
        ("/chat/", False),
        ("/chat/somebody", False),
        ("/chat/0198d2c6-5d5e-7aaa-8bbb-0123456789ab/more", False),
        ("/nothing", False),
        ("/v1/people", False),
    ],
)
def test_the_paths_of_the_views_open_the_page(path: str, found: bool) -> None:
    files = WebFiles()
    assert files.find(path) is (files.find("/") if found else None)
    assert (re.fullmatch(worker_constants(files)["VIEW"], path) is not None) == found


def test_no_file_and_no_view_hides_a_route() -> None:
    files = WebFiles()
    example = "0198d2c6-5d5e-7aaa-8bbb-0123456789ab"
    hidden = [endpoint.path for endpoint in ENDPOINTS if files.find(re.sub(r"\{[^}]+\}", example, endpoint.path))]
    assert hidden == []


def content(files: WebFiles, path: str) -> bytes:
    file = files.find(path)
    assert file is not None
    return bytes(file.answer(Headers({})).body)


def worker_constants(files: WebFiles) -> dict[str, Any]:
    constants = re.findall(r"^const (RELEASE|FILES|VIEW) = (.+);$", content(files, "/sw.js").decode(), re.MULTILINE)
    return {name: json.loads(value) for name, value in constants}
