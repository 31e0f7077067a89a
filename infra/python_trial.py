"""Run by a Python that .venv might be made with: it says who it is, or how long a short loop takes in it.

    python -I -S python_trial.py [loop]

Builds of one version differ: one compiled without optimizations, as version switchers do it unless they are told
otherwise, takes 1.2 to 1.4 times as long. How it was compiled does not tell (distributions optimize without the option
that says so), so that it is measured. The loop has something of everything that a message goes through: builds differ
by nothing in a plain call or an await, and most in arguments by name, dicts, objects, and the parts written in C.
"""

import importlib
import importlib.machinery
import json
import os
import sys
from time import perf_counter

NEEDED = ("ctypes", "ensurepip", "ssl", "venv", "zlib")  # some builds and packages of Python come without one of them
RUNS = 8
STEPS = 300


def who() -> dict[str, str]:
    """Its program (that of the base, where it runs in a virtual environment), its version, and what wheels it takes."""
    return {
        "program": getattr(sys, "_base_executable", "") or sys.executable,
        "version": ".".join(map(str, sys.version_info[:3])),
        "wheels": f"{importlib.machinery.EXTENSION_SUFFIXES[0]} {os.uname().machine}",
    }


def lacks() -> list[str]:
    """Which of the modules that it takes to make and to use .venv are not there, or do not work."""
    missing = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    return missing


class _Message:
    def __init__(self, sender: str, number: int) -> None:
        self.sender = sender
        self.number = number

    def fields(self, **more: object) -> dict[str, object]:
        return {"sender": self.sender, "number": self.number, **more}


class _Stream:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __enter__(self) -> "_Stream":
        self.lines.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.sort(key=len)

    async def append(self, *messages: _Message, **more: object) -> None:
        for message in messages:
            self.lines.append(json.dumps(message.fields(text=f"message {message.number}", **more)))


async def _send() -> None:
    stream = _Stream()
    for number in range(STEPS):
        with stream:
            await stream.append(_Message("anna", number), _Message("boris", number), kind="sent", seen=None)
        assert [json.loads(line)["number"] for line in stream.lines] == [number, number]


def loop() -> float:
    """Seconds of the quickest of several runs: what made the others longer was other work."""
    took = []
    for _ in range(RUNS):
        steps = _send()
        began = perf_counter()
        try:
            steps.send(None)
        except StopIteration:
            took.append(perf_counter() - began)
    return min(took)


if __name__ == "__main__":
    print(json.dumps(loop() if sys.argv[1:] == ["loop"] else {**who(), "lacks": lacks()}))  # noqa: T201 - the answer
