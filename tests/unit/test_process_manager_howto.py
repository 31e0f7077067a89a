"""The process of the how-to acts on what is due."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "write-a-process-manager.md"


class OneReport:
    """Reads for the process manager: one report. The second read ends the first sweep."""

    def __init__(self) -> None:
        self._reads = 0
        self.swept = asyncio.Event()

    async def select(self, row: Any, query: str, parameters: object) -> tuple[list[Any], None]:  # noqa: ANN401 - a row
        self._reads += 1
        if self._reads > 1:
            self.swept.set()
        return [row(report_id="the-report")], None


async def test_the_process_of_the_howto_acts_on_what_is_due(caplog: pytest.LogCaptureFixture) -> None:
    blocks = re.findall(r"```python\n(.*?)```", HOWTO.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if "class OverdueReports" in block]
    text = "\n".join(line.removeprefix("   ") for line in block.split("\n"))
    names: dict[str, Any] = {"__name__": "overdue"}
    exec(text.replace("every=10.0", "every=0.01"), names)  # our own page
    reports = OneReport()
    running = asyncio.create_task(names["OverdueReports"](reports, timedelta(days=3)).run())
    swept = asyncio.create_task(reports.swept.wait())
    done, _ = await asyncio.wait({running, swept}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    for task in (running, swept):
        task.cancel()
    await asyncio.gather(running, swept, return_exceptions=True)
    assert done == {swept}
    assert "the report the-report is overdue" in caplog.text
