"""What `vestnik serve` sets up before a service runs."""

import os
import subprocess
import sys

# A process of its own, since the limit cannot be raised again.
SCRIPT = """
import resource, sys, types
from infra.cli.system.serve import serve

async def main(settings):
    print("limits", *resource.getrlimit(resource.RLIMIT_CORE))

sys.modules["services.auth.main"] = types.SimpleNamespace(main=main)
serve(["auth"])
"""


def test_a_process_that_is_aborted_writes_no_core_file() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VESTNIK_")}
    served = subprocess.run([sys.executable, "-c", SCRIPT], env=environ, capture_output=True, text=True, check=True)
    assert "limits 0 0\n" in served.stdout
