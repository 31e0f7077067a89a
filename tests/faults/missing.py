"""What this machine lacks for the laboratory."""

import shutil

from tests.rehearsal import cluster


def missing() -> list[str]:
    if lacking := cluster.missing():
        return lacking
    return [f"the program {name}" for name in ("tc",) if shutil.which(name) is None]
