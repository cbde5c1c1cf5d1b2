"""Stands in for `python -m tuning` and `python -m recipes`, without KerasTuner and TensorFlow.

It keeps to what the files of a job rely on: addresses by environment, a chief that goes on, the
same name gets its unfinished trial again, the words of ends. Each process leaves what it was called
with in the run folder. It is copied as the `__main__.py` of both packages, and imports nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

TRIAL_SECONDS = 0.1
PATIENCE_SECONDS = 3.0
"""How long a chief is looked for, and a peer."""


def option(name: str, default: str = "") -> str:
    """Return the value of an option on the command line."""
    words = sys.argv
    return words[words.index(name) + 1] if name in words else default


RUN_DIR = Path(option("--run-dir"))


def replace(name: str, value: Any) -> None:
    """Write a JSON file of the run folder as a whole."""
    RUN_DIR.mkdir(parents=True, exist_ok=True)
    aside = RUN_DIR / f".{name}.{time.time_ns()}"
    aside.write_text(json.dumps(value), encoding="utf-8")
    aside.replace(RUN_DIR / name)


def record() -> None:
    """Leave words, folder and environment of this process."""
    values = {"words": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}
    replace(f"call-{time.time_ns()}.json", values)


def chief() -> None:
    """Hand out trials until all are done, and say so for a moment."""
    file = RUN_DIR / "state.json"
    state = {"left": int(option("--trials", "6")), "running": {}, "done": []}
    if file.exists():
        state = json.loads(file.read_text(encoding="utf-8"))
    where = os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])
    end = float("inf")
    with socket.create_server(where) as server:
        server.settimeout(0.05)
        while time.monotonic() < end:
            with contextlib.suppress(OSError), server.accept()[0] as caller:
                caller.settimeout(1)
                if line := caller.makefile().readline():  # else somebody only looked for it
                    caller.sendall(f"{answer(state, line)}\n".encode())
            replace("state.json", state)
            replace(f"done-{len(state['done'])}", None)
            if end == float("inf") and not state["left"] and not state["running"]:
                end = time.monotonic() + 1


def answer(state: dict[str, Any], line: str) -> str:
    """Return a worker's next trial, or that there is none."""
    who, done = json.loads(line)
    if done and state["running"].get(who) == done:
        state["done"].append([done, who])
        del state["running"][who]
    if who not in state["running"] and state["left"]:
        state["running"][who] = f"trial-{state['left']}"
        state["left"] -= 1
    return state["running"].get(who) or ("wait" if state["running"] else "over")


def ask(done: str) -> str:
    """Return what the chief answers, if it can be reached in time."""
    where = os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(where, 1) as chief:
            chief.sendall(json.dumps([os.environ["KERASTUNER_TUNER_ID"], done]).encode() + b"\n")
            if received := chief.makefile().readline().strip():
                return received
        time.sleep(0.03)
    replace(f"lost-{time.time_ns()}.json", os.environ["KERASTUNER_TUNER_ID"])
    sys.exit(2)


def worker() -> None:
    """Work on trials until there are none."""
    trial = ask("")
    while trial != "over":
        time.sleep(TRIAL_SECONDS)
        trial = ask("" if trial == "wait" else trial)


def train() -> None:
    """Meet all other workers, and finish the run; the first leaves a checkpoint and results."""
    config = json.loads(os.environ["TF_CONFIG"])
    addresses, index = config["cluster"]["worker"], config["task"]["index"]
    if (RUN_DIR / "fail").exists() and index == 1:
        (RUN_DIR / "fail").unlink()
        sys.exit(1)
    with socket.create_server(("", int(addresses[index].rpartition(":")[2]))):
        for address in addresses:
            meet(*address.rsplit(":", 1))
        time.sleep(0.5)  # until all have met
    if (RUN_DIR / "stumble").exists() and index == 0:
        (RUN_DIR / "stumble").unlink()
        sys.exit(1)
    if index == 0:
        replace("checkpoint.npz", {})
        replace("metrics.json", {"workers": len(addresses)})


def get_on(times: int) -> None:
    """Leave a new checkpoint, at most so many times."""
    if len([*RUN_DIR.glob("call-*.json")]) <= times:
        replace("checkpoint.npz", {})


def meet(host: str, port: str) -> None:
    """Connect to another worker, or fail as training does when one is gone."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.03)
    sys.exit(1)


if __name__ == "__main__":
    record()
    if code := int(option("--code", "0")):
        get_on(int(option("--progress", "0")))
        sys.exit(code)
    {"chief": chief, "worker": worker}.get(sys.argv[1], train)()
