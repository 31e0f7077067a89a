"""Names of projections: which are valid, and the class name that follows from one."""

import keyword
import re

from infra.devtools.scaffold_projection.errors import CannotMake

# With the suffixes of version and build, the name has to fit into PostgreSQL's 63 bytes.
_LONGEST = 40
# Words of at least two letters or digits, so that the name and the class name can be derived from each other.
_NAME = re.compile(r"[a-z][a-z0-9]+(?:_[a-z][a-z0-9]+)*")
_VERSIONED = re.compile(r".*_[vb][0-9]+")
# Names without meaning, and names of modules beside the projections.
_RESERVED = {"utils", "util", "helpers", "common", "base", "manager", "misc", "engine", "registry", "projections"}


def class_of(name: str) -> str:
    """Returns the class name for a projection's name.

    Raises:
        CannotMake: it is not a valid name for a projection.
    """
    if not _NAME.fullmatch(name):
        raise CannotMake(f"{name!r} is no name: words of two or more of a-z 0-9, joined by _, such as hours_of_day")
    if len(name) > _LONGEST:
        raise CannotMake(f"a name has at most {_LONGEST} characters, this one has {len(name)}")
    class_name = "".join(word.capitalize() for word in name.split("_"))
    if any(map(keyword.iskeyword, (name, class_name))) or keyword.issoftkeyword(name) or name in _RESERVED:
        raise CannotMake(f"{name} is reserved: name the projection after what it shows")
    if _VERSIONED.fullmatch(name):
        raise CannotMake(f"{name} ends as versions and builds of tables do; the version is an attribute of the class")
    return class_name
