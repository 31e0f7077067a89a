"""Which reasons the audit of logins is filtered by: the same on the command line and on the operators' page."""

import re
from typing import get_args

from contracts.events.login_failure import FailureReason
from infra.history.login_audit import ENDS
from services.gateway.static.files import FOLDER


def test_the_page_offers_the_reasons_that_the_command_line_takes() -> None:
    script = (FOLDER / "js/ops/audit/logins.js").read_text(encoding="utf-8")
    lists = dict(re.findall(r"^const (ENDS|FAILURES) = \[(.*)\];$", script, re.MULTILINE))
    offered = {name: set(re.findall(r'"(\w+)"', text)) for name, text in lists.items()}
    assert offered == {"ENDS": set(ENDS), "FAILURES": set(get_args(FailureReason))}
