from contextlib import closing
from pathlib import Path

import pytest

from infra.load.errors import LoadError
from infra.load.journal import Journal

URL = "http://127.0.0.1:8080"


def opened(path: Path, digest: str = "d", url: str = URL) -> Journal:
    return Journal(path, digest=digest, url=url)


def filled(path: Path) -> None:
    with closing(opened(path)) as journal:
        journal.person("1", "id-1", "token-1")
        journal.person("1", "id-1", "token-2")
        journal.befriended(("1", "2"))
        journal.sent_line(2)


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    filled(tmp_path / "state")
    with closing(opened(tmp_path / "state")) as journal:
        assert journal.people["1"].refresh_token == "token-2"
        assert journal.friends == {("1", "2")}
        assert journal.sent == {2}


def test_a_torn_last_line_is_dropped_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "state"
    filled(path)
    path.write_bytes(path.read_bytes()[:-3])
    with closing(opened(path)) as journal:
        assert journal.sent == set()
        journal.sent_line(7)
    with closing(opened(path)) as journal:
        assert journal.friends == {("1", "2")}
        assert journal.sent == {7}


@pytest.mark.parametrize(("digest", "url"), [("other", URL), ("d", "http://127.0.0.1:1")])
def test_the_journal_of_another_file_or_gateway_counts_for_nothing(tmp_path: Path, digest: str, url: str) -> None:
    filled(tmp_path / "state")
    with closing(opened(tmp_path / "state", digest, url)) as journal:
        assert (journal.people, journal.friends, journal.sent) == ({}, set(), set())


def test_starting_over_forgets_everything(tmp_path: Path) -> None:
    filled(tmp_path / "state")
    with closing(opened(tmp_path / "state")) as journal:
        journal.start_over()
    with closing(opened(tmp_path / "state")) as journal:
        assert (journal.people, journal.friends, journal.sent) == ({}, set(), set())


def test_two_loads_cannot_share_a_journal(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "state")), pytest.raises(LoadError, match="Another load"):
        opened(tmp_path / "state")


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    filled(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600
