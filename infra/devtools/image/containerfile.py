"""Parser of a Containerfile: its stages, with the instructions that `./just image --check` can run.

It knows the instructions of `_INSTRUCTIONS` and refuses everything else by its line: a step that it left out or
understood differently would make the check worthless.
"""

import re
import shlex
from collections.abc import Iterator, Mapping

import msgspec

from infra.operator_errors import OperatorError

_INSTRUCTIONS = frozenset(
    "ARG CMD COPY ENTRYPOINT ENV FROM HEALTHCHECK LABEL RUN STOPSIGNAL USER WORKDIR".split()  # noqa: SIM905 - one line
)
# The flags of each instruction.
_FLAGS = {
    "COPY": {"from"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "retries"},
}
_LINE = re.compile(r"^\s*([A-Za-z]+)\s+(.*)$", re.DOTALL)
_FLAG = re.compile(r"^--([a-z-]+)=(\S+)\s+")
_FROM = re.compile(r"^(\S+)(?:\s+[Aa][Ss]\s+([a-z][a-z0-9_.-]*))?$")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]*$")
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


class ContainerfileError(OperatorError):
    """The Containerfile is wrong, or has something that this check does not support."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"Containerfile, line {line}: {problem}")


class Instruction(msgspec.Struct, frozen=True):
    """One instruction, with its text as it is written, without continuations and comments."""

    keyword: str
    text: str
    line: int
    flags: Mapping[str, str] = {}


class Stage(msgspec.Struct, frozen=True):
    """One stage: an image or an earlier stage, and what is done to it."""

    base: str
    # Empty: the last stage may have none.
    name: str
    line: int
    instructions: list[Instruction]


class Containerfile(msgspec.Struct, frozen=True):
    """The stages in order, and the arguments that are declared before the first of them."""

    arguments: Mapping[str, str]
    stages: list[Stage]


def parse(text: str) -> Containerfile:
    """Reads a Containerfile.

    Raises:
        ContainerfileError: a line is wrong or not supported.
    """
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for instruction in _instructions(text):
        if instruction.keyword == "FROM":
            stages.append(_stage(instruction, arguments))
        elif stages:
            stages[-1].instructions.append(instruction)
        elif instruction.keyword == "ARG":
            arguments |= argument(instruction, arguments)
        else:
            raise ContainerfileError(instruction.line, f"{instruction.keyword} before the first FROM")
    if not stages:
        raise ContainerfileError(1, "there is no FROM")
    return Containerfile(arguments, stages)


def argument(instruction: Instruction, variables: Mapping[str, str]) -> dict[str, str]:
    """The variable of an ARG with its default value, if it has one."""
    name, has_default, default = instruction.text.partition("=")
    if not _NAME.match(name):
        raise ContainerfileError(instruction.line, f"{name!r} is not the name of an argument")
    return {name: _unquoted(instruction, expand(instruction, default, variables))} if has_default else {}


def assignments(instruction: Instruction, variables: Mapping[str, str]) -> dict[str, str]:
    """The pairs `NAME=value` of an ENV or a LABEL."""
    pairs: dict[str, str] = {}
    for word in shlex.split(instruction.text):
        name, equals, value = word.partition("=")
        if not equals or not _NAME.match(name):
            raise ContainerfileError(instruction.line, f"{word!r} is not NAME=value")
        pairs[name] = expand(instruction, value, variables)
    return pairs


def expand(instruction: Instruction, text: str, variables: Mapping[str, str]) -> str:
    """The text with the values of its variables, `$NAME` and `${NAME}`; an unknown one is empty, as in a build."""

    def value(match: re.Match[str]) -> str:
        name = match[1] if match[1] is not None else match[2]
        if not _NAME.match(name):
            raise ContainerfileError(instruction.line, f"${{{name}}} is not supported, only ${{NAME}}")
        return variables.get(name, "")

    return _VARIABLE.sub(value, text)


def exec_form(instruction: Instruction, text: str) -> list[str]:
    """The words of a command in exec form.

    Raises:
        ContainerfileError: it has another form. A shell in between would not pass signals on.
    """
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        problem = f'{instruction.keyword} must have the exec form, ["program", "argument"]'
        raise ContainerfileError(instruction.line, problem) from None


def _instructions(text: str) -> Iterator[Instruction]:
    for line, joined in _joined_lines(text):
        match = _LINE.match(joined)
        keyword = match[1].upper() if match else joined.split()[0]
        if match is None or keyword not in _INSTRUCTIONS:
            known = ", ".join(sorted(_INSTRUCTIONS))
            raise ContainerfileError(line, f"{keyword} is not supported by this check; supported are {known}")
        rest, flags = match[2].strip(), {}
        while flag := _FLAG.match(rest):
            if flag[1] not in _FLAGS.get(keyword, ()):
                break
            flags[flag[1]] = flag[2]
            rest = rest[flag.end() :]
        if rest.startswith("--"):
            raise ContainerfileError(line, f"{keyword} {rest.split()[0]} is not supported by this check")
        if keyword in ("RUN", "COPY") and "<<" in rest:
            raise ContainerfileError(line, "here-documents are not supported by this check")
        if keyword == "RUN" and rest.startswith("["):
            raise ContainerfileError(line, "RUN is supported in its shell form only")
        yield Instruction(keyword, rest, line, flags)


def _joined_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each instruction in one piece, with the number of its first line; comments and empty lines are left out."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        begun = begun or number
        parts.append(line.rstrip().removesuffix("\\"))
        if not line.rstrip().endswith("\\"):
            yield begun, "".join(parts)
            begun, parts = 0, []
    if parts:
        raise ContainerfileError(begun, "the last line is continued, but there is none after it")


def _stage(instruction: Instruction, arguments: Mapping[str, str]) -> Stage:
    match = _FROM.match(expand(instruction, instruction.text, arguments))
    if match is None:
        raise ContainerfileError(instruction.line, "FROM must be IMAGE or IMAGE AS NAME")
    return Stage(match[1], match[2] or "", instruction.line, [])


def _unquoted(instruction: Instruction, text: str) -> str:
    words = shlex.split(text)
    if len(words) > 1:
        raise ContainerfileError(instruction.line, f"{text!r} is more than one value")
    return words[0] if words else ""
