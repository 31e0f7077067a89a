"""The alerting rules: valid, each tested when it fires and when it does not, and each with a runbook."""

import re
import subprocess
from collections import defaultdict
from typing import Any

import yaml

from tests.e2e.documented_commands import blocks
from tests.fix_system import ROOT
from tests.prometheus_server import ALERTS, needs_promtool

TESTS = ALERTS.with_name("alerts_test.yml")
Json = dict[str, Any]


def alerts() -> list[Json]:
    return [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def anchors(page: str) -> set[str]:
    """The anchors of the page's headings."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_says_what_is_wrong_how_urgent_it_is_and_where_its_runbook_begins() -> None:
    for alert in alerts():
        name = alert["alert"]
        assert re.fullmatch(r"Vestnik[A-Za-z]+", name)
        assert alert["labels"]["severity"] in {"page", "ticket"}, name
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}, name
        for text in (alert["annotations"]["summary"], alert["annotations"]["description"]):
            assert text.endswith("."), name
        path, _, anchor = alert["annotations"]["runbook"].partition("#")
        page = (ROOT / path).read_text(encoding="utf-8")
        assert anchor in anchors(page), name
        # The name in a notification can be found in the runbook.
        assert f"`{name}`" in page, name


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    outcomes = defaultdict(set)
    for case in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]:
        for expected in case["alert_rule_test"]:
            outcomes[expected["alertname"]].add(bool(expected["exp_alerts"]))
    assert dict(outcomes) == {alert["alert"]: {True, False} for alert in alerts()}


@needs_promtool
def test_promtool_accepts_the_rules_and_their_tests_hold() -> None:
    (commands,) = [block for block in blocks(ROOT / "docs/howto/see-inside.md") if "promtool" in block]
    assert "check rules" in commands
    assert "test rules" in commands
    completed = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


@needs_promtool
def test_promtool_accepts_the_example_of_a_configuration() -> None:
    example = ALERTS.with_name("prometheus.yml")
    completed = subprocess.run(
        ["promtool", "check", "config", str(example)], capture_output=True, text=True, timeout=600
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
