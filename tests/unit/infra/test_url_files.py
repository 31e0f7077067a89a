"""URLs that files hold: read again each time, and an error that names the file."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from infra import url_files

URL = "postgresql://me:secret@db-1:5432,db-2:5432/vestnik?target_session_attrs=read-write"


def test_a_url_is_what_its_file_holds_at_that_time(tmp_path: Path) -> None:
    file = tmp_path / "the file"
    reference = url_files.reference(str(file))
    file.write_text("nats://auth:old@nats-1:4222\n")
    assert url_files.read(reference) == "nats://auth:old@nats-1:4222"
    file.write_text("nats://auth:new@nats-1:4222")
    assert url_files.read(reference) == "nats://auth:new@nats-1:4222"
    assert url_files.path_of(reference) == file
    assert url_files.read("nats://nats-1:4222") == "nats://nats-1:4222"
    assert url_files.path_of("nats://nats-1:4222") is None


def test_a_file_that_is_missing_or_empty_is_named_without_its_content(tmp_path: Path) -> None:
    file = tmp_path / "url"
    with pytest.raises(url_files.UnreadableUrl, match=r"/url cannot be read: No such file"):
        url_files.read(url_files.reference(str(file)))
    file.write_text(" \n")
    with pytest.raises(url_files.UnreadableUrl, match=r"/url is empty"):
        url_files.read(url_files.reference(str(file)))
    file.write_bytes(b"secret\xff")
    with pytest.raises(url_files.UnreadableUrl, match=r"/url cannot be read: not text"):
        url_files.read(url_files.reference(str(file)))


def test_a_reference_stays_one_when_options_are_added(tmp_path: Path) -> None:
    file = tmp_path / "url"
    options = "-c role=vestnik_auth -c search_path=vestnik_auth"
    reference = url_files.with_options(url_files.with_options(url_files.reference(str(file)), "-c a=b"), options)
    for password in ("secret", "other"):
        file.write_text(URL.replace("secret", password))
        for url in (url_files.read(reference), url_files.with_options(file.read_text(), options)):
            parts = conninfo_to_dict(url)
            assert (parts["password"], parts["host"], parts["options"]) == (password, "db-1,db-2", options)
