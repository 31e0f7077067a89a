"""How a step in another root reaches the package sources of this machine."""

from pathlib import Path

import pytest

from infra.devtools.image.host_configuration import apt_sources, pip_environment


def test_pip_s_configuration_becomes_variables_and_the_environment_wins() -> None:
    environment = pip_environment(
        ":env:.index-url='https://b.example/simple'\nglobal.index-url='https://a.example/simple'\n"
        "global.user='yes'\nglobal.constraint='/etc/constraints.txt'\ninstall.default-timeout='5'\n"
    )
    assert environment.environment == {"PIP_INDEX_URL": "https://b.example/simple", "PIP_DEFAULT_TIMEOUT": "5"}
    assert environment.folders == []


def test_paths_of_this_machine_are_moved_and_their_top_folders_named() -> None:
    environment = pip_environment(
        "global.cert='/etc/ssl/ours.pem'\nglobal.find-links='/opt/wheels\\nhttps://c.example/links'\n"
        "global.extra-index-url='file:///opt/pypi/simple file:///srv/simple'\n"
    )
    assert environment.environment == {
        "PIP_CERT": "/run/host/etc/ssl/ours.pem",
        "PIP_FIND_LINKS": "/run/host/opt/wheels https://c.example/links",
        "PIP_EXTRA_INDEX_URL": "file:///run/host/opt/pypi/simple file:///run/host/srv/simple",
    }
    assert environment.folders == [Path("/etc"), Path("/opt"), Path("/srv")]


DEB822 = """\
# The release.
Types: deb
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb-src
URIs: http://a.example/debian
Suites: bookworm
Components: main
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_the_sources_of_the_release_are_taken_and_no_others(folder: Path) -> None:
    (folder / "sources.list").write_text(
        "# deb http://commented.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://b.example/security bookworm-security main contrib # why\n"
        "deb http://other.example/apt nodistro main\n"
        "deb-src http://b.example/debian bookworm main\n"
    )
    (folder / "sources.list.d" / "debian.sources").write_text(DEB822)
    (folder / "sources.list.d" / "debian.sources.save").write_text(DEB822)
    assert apt_sources("bookworm", folder).split("\n\n") == [
        "Types: deb\nURIs: http://b.example/security\nSuites: bookworm-security\nComponents: main contrib\n"
        "Signed-By: /k.gpg",
        "\n".join(DEB822.splitlines()[1:6]),
    ]
    assert apt_sources("trixie", folder) == ""


def test_a_machine_without_apt_has_no_sources(tmp_path: Path) -> None:
    assert apt_sources("bookworm", tmp_path / "none") == ""
