"""The configuration of an image, and that of the tree's own."""

import tomllib

import msgspec
import pytest

from infra.devtools.image.__main__ import CONTAINERFILE, ROOT, final_configuration, lint
from infra.devtools.image.configuration import Configuration, faults
from infra.devtools.image.containerfile import parse

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_image_of_the_tree_is_configured_as_it_should_be() -> None:
    assert list(faults(final_configuration(parse(CONTAINERFILE.read_text())), VERSION)) == []


def test_hadolint_finds_nothing() -> None:
    lint()


def test_a_later_stage_inherits_all_but_the_arguments() -> None:
    text = (
        "FROM x AS a\nARG N=1\nENV P=$N Q=$PATH\nWORKDIR /b\nWORKDIR c\nUSER u\nFROM a\nENV R=$N$P\nARG P=2\nENV S=$P\n"
    )
    configuration = final_configuration(parse(text))
    assert (configuration.folder, configuration.user) == ("/b/c", "u")
    assert {name: configuration.environment[name] for name in "PRS"} == {"P": "1", "R": "1", "S": "1"}
    assert configuration.environment["Q"] == Configuration().environment["PATH"]


def test_an_entry_point_forgets_the_command_before_it() -> None:
    configuration = final_configuration(parse('FROM x\nCMD ["a"]\nENTRYPOINT ["b"]\n'))
    assert (configuration.entrypoint, configuration.command) == (["b"], [])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"user": ""}, "USER is root"),
        ({"user": "0:0"}, "USER is 0:0"),
        ({"entrypoint": ["sh", "-c", "vestnik"]}, "ENTRYPOINT"),
        ({"health_check": []}, "HEALTHCHECK"),
        ({"stop_signal": "SIGKILL"}, "STOPSIGNAL"),
        ({"environment": {}}, "PYTHONDONTWRITEBYTECODE"),
        ({"labels": {}}, "title is missing"),
    ],
)
def test_another_configuration_is_refused(change: dict[str, object], fault: str) -> None:
    valid = final_configuration(parse(CONTAINERFILE.read_text()))
    assert any(fault in reported for reported in faults(msgspec.structs.replace(valid, **change), VERSION))


def test_a_label_with_another_version_is_refused() -> None:
    valid = final_configuration(parse(CONTAINERFILE.read_text()))
    assert [fault for fault in faults(valid, "9.9.9") if "says" in fault] == [
        f"the label org.opencontainers.image.version says {VERSION}, and pyproject.toml 9.9.9"
    ]
