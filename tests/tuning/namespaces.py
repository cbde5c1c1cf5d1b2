"""Machines on one machine: network namespaces that a bridge joins.

Each has a network stack of its own, so that the same port may be used in all of them and nothing
of one is on another's loopback. The bridge is in a namespace as well: the machine's own network is
not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Machine:
    """One of the namespaces.

    Attributes:
        name: Of the namespace.
        address: By which the others reach it.
    """

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        """Return a command as it is run on this machine."""
        return ["ip", "netns", "exec", self.name, *words]


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """Give machines that reach each other; skip the test where there can be none."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root, and `ip` of iproute2")
    prefix = f"seqzoo-{os.getpid()}"
    switch = f"{prefix}-switch"
    found = [Machine(f"{prefix}-{index}", f"10.213.7.{index + 1}") for index in range(count)]
    names = [switch, *(each.name for each in found)]
    try:
        try:
            for name in names:
                _ip("netns", "add", name)
            _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
            _ip("-n", switch, "link", "set", "bridge", "up")
            for index, each in enumerate(found):
                _join(each, switch, f"port{index}")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        yield found
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _join(machine: Machine, switch: str, port: str) -> None:
    """Plug a machine into the switch."""
    end = ("peer", "name", port, "netns", switch)
    _ip("-n", machine.name, "link", "add", "cable", "type", "veth", *end)
    _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
    _ip("-n", machine.name, "address", "add", f"{machine.address}/24", "dev", "cable")
    for device in ("lo", "cable"):
        _ip("-n", machine.name, "link", "set", device, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, text=True, check=True)
