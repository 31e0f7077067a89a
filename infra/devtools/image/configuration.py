"""What an image says about its containers: environment, user, command, health check, labels."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from infra.devtools.image.containerfile import Instruction, argument, assignments, exec_form, expand

USER = "10001:10001"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LABELS = ("title", "description", "version", "revision", "base.name")
_LABEL_PREFIX = "org.opencontainers.image."


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The state after an instruction, which a later stage inherits from its base."""

    environment: Mapping[str, str] = MappingProxyType({"PATH": _PATH})
    # Of the stage alone.
    arguments: Mapping[str, str] = {}
    user: str = ""
    folder: str = "/"
    entrypoint: list[str] = []
    command: list[str] = []
    health_check: list[str] = []
    stop_signal: str = ""
    labels: Mapping[str, str] = {}

    @property
    def variables(self) -> dict[str, str]:
        """The environment of RUN; other instructions use it as variables."""
        return {**self.arguments, **self.environment}

    def inherited(self) -> "Configuration":
        """For a stage on top of this one."""
        return msgspec.structs.replace(self, arguments={})

    def after(self, instruction: Instruction) -> "Configuration":
        """The configuration after an instruction; RUN and COPY change nothing in it.

        Raises:
            ContainerfileError: the instruction is wrong.
        """
        return msgspec.structs.replace(self, **self._changes(instruction))

    def _changes(self, instruction: Instruction) -> dict[str, object]:
        text = instruction.text
        match instruction.keyword:
            case "ARG":
                return {"arguments": {**self.arguments, **argument(instruction, self.variables)}}
            case "ENV":
                return {"environment": {**self.environment, **assignments(instruction, self.variables)}}
            case "LABEL":
                return {"labels": {**self.labels, **assignments(instruction, self.variables)}}
            case "USER":
                return {"user": expand(instruction, text, self.variables)}
            case "WORKDIR":
                folder = expand(instruction, text, self.variables)
                return {"folder": folder if folder.startswith("/") else f"{self.folder.rstrip('/')}/{folder}"}
            case "STOPSIGNAL":
                return {"stop_signal": text}
            case "ENTRYPOINT":
                return {"entrypoint": exec_form(instruction, text), "command": []}
            case "CMD":
                return {"command": exec_form(instruction, text)}
            case "HEALTHCHECK":
                return {"health_check": exec_form(instruction, text.removeprefix("CMD").strip())}
        return {}


def faults(configuration: Configuration, version: str) -> Iterator[str]:
    """Yields what is wrong with the configuration of the final image; `version`: of the project."""
    if configuration.user != USER:
        yield f"USER is {configuration.user or 'root'} and not {USER}"
    if configuration.entrypoint != ["vestnik"]:
        yield f'ENTRYPOINT is {configuration.entrypoint} and not ["vestnik"]'
    if configuration.health_check[:2] != ["vestnik", "probe"]:
        yield f"HEALTHCHECK is {configuration.health_check} and not a `vestnik probe`"
    if configuration.stop_signal != "SIGTERM":
        yield f"STOPSIGNAL is {configuration.stop_signal or 'missing'} and not SIGTERM"
    if configuration.environment.get("PYTHONDONTWRITEBYTECODE") != "1":
        yield "PYTHONDONTWRITEBYTECODE is not set: Python would try to write into a read-only file system"
    for name in _LABELS:
        if not configuration.labels.get(_LABEL_PREFIX + name):
            yield f"the label {_LABEL_PREFIX}{name} is missing"
    if (labelled := configuration.labels.get(f"{_LABEL_PREFIX}version")) != version:
        yield f"the label {_LABEL_PREFIX}version says {labelled}, and pyproject.toml {version}"
