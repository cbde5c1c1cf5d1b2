"""Training and serving compute by the same library."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"


@pytest.mark.parametrize(("asked", "taken"), [(None, "1"), ("0", "0")])
@pytest.mark.parametrize("package", ["recipes", "serving", "tuning"])
def test_it_is_on_unless_told_otherwise(package: str, asked: str | None, taken: str) -> None:
    code = f"""
import os, sys
from {package}.__main__ import main
assert main(["--help"]) == 0
print(os.environ["{VARIABLE}"], "tensorflow" in sys.modules)
"""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if asked is not None:
        environment[VARIABLE] = asked
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == [f"{taken} False"], done.stderr
