"""What a run of `./just test` inside a test needs: its environment and its pytest.ini.

Other plug-ins than xdist would take most of such a short run: hypothesis alone costs each process half a second.
"""

from pathlib import Path

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
INI = "[pytest]\naddopts = -p xdist.plugin\n"
