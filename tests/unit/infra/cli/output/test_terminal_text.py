"""Text of clients on a terminal."""

import json

from infra.cli.output.terminal_text import printable


def test_what_could_steer_a_terminal_is_escaped_and_the_rest_stays() -> None:
    assert printable("plain, жук, 🙂, a b") == "plain, жук, 🙂, a b"
    assert printable("\x1b[2J\x9b1m\u202e\n\U000e0001") == r"\u001b[2J\u009b1m\u202e\n\udb40\udc01"


def test_json_stays_the_same_json() -> None:
    text = json.dumps({"text": "a\x9b1m\u200d🙂"}, ensure_ascii=False)
    assert json.loads(printable(text)) == json.loads(text)
