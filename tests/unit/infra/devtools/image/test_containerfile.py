"""The parser of the Containerfile: what it understands, and what it refuses by its line."""

import pytest

from infra.devtools.image.containerfile import (
    ContainerfileError,
    Instruction,
    argument,
    assignments,
    exec_form,
    expand,
    parse,
)

TEXT = """\
# The base.
ARG DIGEST=@sha256:12
FROM debian:bookworm-slim${DIGEST} AS first

# A step.
RUN apt-get update \\
    # why
    && echo "a # b" \\

    && true
copy --from=first /a /b
HEALTHCHECK --interval=30s --timeout=5s CMD ["a", "b"]
FROM first
USER 1:1
"""


def test_stages_and_their_instructions_are_read_with_their_lines() -> None:
    parsed = parse(TEXT)
    assert parsed.arguments == {"DIGEST": "@sha256:12"}
    first, last = parsed.stages
    assert (first.base, first.name, first.line) == ("debian:bookworm-slim@sha256:12", "first", 3)
    assert [(step.keyword, step.line) for step in first.instructions] == [("RUN", 6), ("COPY", 11), ("HEALTHCHECK", 12)]
    assert first.instructions[0].text.split() == ["apt-get", "update", "&&", "echo", '"a', "#", 'b"', "&&", "true"]
    assert (first.instructions[1].text, first.instructions[1].flags) == ("/a /b", {"from": "first"})
    assert first.instructions[2].flags == {"interval": "30s", "timeout": "5s"}
    assert (last.base, last.name, last.instructions[0].text) == ("first", "", "1:1")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("VOLUME /data", "line 2: VOLUME is not supported by this check; supported are ARG, CMD, COPY"),
        ("ADD a b", "line 2: ADD is not supported"),
        ("RUN --mount=type=cache,target=/a true", "line 2: RUN --mount=type=cache,target=/a is not supported"),
        ("COPY --chmod=700 a b", "line 2: COPY --chmod=700 is not supported"),
        ("RUN <<EOF", "line 2: here-documents are not supported"),
        ('RUN ["true"]', "line 2: RUN is supported in its shell form only"),
        ("RUN a \\", "line 2: the last line is continued"),
        ("FROM a b c", "line 2: FROM must be IMAGE or IMAGE AS NAME"),
        ("nothing", "line 2: nothing is not supported"),
    ],
)
def test_what_the_check_cannot_do_is_refused_by_its_line(line: str, problem: str) -> None:
    with pytest.raises(ContainerfileError) as refused:
        parse(f"FROM a\n{line}\n")
    assert problem in str(refused.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "RUN true\nFROM a\n", "ARG 1\nFROM a\n"])
def test_a_file_without_a_first_stage_is_refused(text: str) -> None:
    with pytest.raises(ContainerfileError):
        parse(text)


def step(text: str) -> Instruction:
    return Instruction("ENV", text, 7)


def test_variables_have_their_values_and_unknown_ones_are_empty() -> None:
    assert expand(step(""), "$A-${B}-$C.", {"A": "1", "B": "2"}) == "1-2-."
    with pytest.raises(ContainerfileError, match=r"line 7: \$\{A:-1\} is not supported"):
        expand(step(""), "${A:-1}", {})


def test_pairs_may_be_quoted() -> None:
    assert assignments(step('A=1 B="two words" C=$A'), {"A": "x"}) == {"A": "1", "B": "two words", "C": "x"}
    with pytest.raises(ContainerfileError, match="'old' is not NAME=value"):
        assignments(step("old style"), {})


def test_an_argument_may_have_a_default() -> None:
    assert argument(step("VERSION"), {}) == {}
    assert argument(step('VERSION="0.2.0"'), {}) == {"VERSION": "0.2.0"}
    with pytest.raises(ContainerfileError, match="more than one value"):
        argument(step("A=1 B=2"), {})


def test_a_command_has_the_exec_form() -> None:
    assert exec_form(step(""), '["vestnik", "up"]') == ["vestnik", "up"]
    for other in ("vestnik up", '"vestnik"', "[1]"):
        with pytest.raises(ContainerfileError, match="exec form"):
            exec_form(step(""), other)
