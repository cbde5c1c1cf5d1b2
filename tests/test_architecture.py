"""The rules that no single module can keep: arrows, contracts, what an import costs."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from recipes import RECIPES
from tests.sources import (
    OURS,
    ROOT,
    Import,
    Module,
    is_ours,
    module_names,
    modules,
    parsed,
    tell,
    within,
)

BASICS = ("zoo.errors", "zoo.ports")
SPOKEN = ("serving.errors", "serving.protocol", "serving.values")
EXPORT = (*BASICS, "zoo.command", "zoo.environment", "zoo.pipeline", "serving")
CLIENT = tuple(
    f"serving.{name}"
    for name in (
        "casting",
        "flows",
        "tls",
        "transports",
        "client",
        "async_transports",
        "async_client",
        "load",
    )
)

ARROWS: Mapping[str, tuple[str, ...]] = {
    "zoo.errors": (),
    "zoo.command": ("zoo.errors",),
    "zoo.ports": ("zoo.errors",),
    "zoo.environment": (),
    "zoo.onednn": (),
    "zoo.sound": ("zoo.errors",),
    "zoo.video": ("zoo.errors",),
    "zoo.layers": BASICS,
    "zoo.decoding": BASICS,
    "zoo.preprocessing": (*BASICS, "zoo.sound", "zoo.streaming"),
    "zoo.datasets": (*BASICS, "zoo.sound", "zoo.video"),
    "zoo.metrics": BASICS,
    "zoo.models": (*BASICS, "zoo.layers", "zoo.decoding"),
    "zoo.streaming": BASICS,
    "zoo.pipeline": BASICS,
    "zoo.callbacks": BASICS,
    "serving.export": EXPORT,
    "serving.signatures": EXPORT,
    "serving.parity": EXPORT,
    "serving.card": EXPORT,
    "serving.__main__": (*EXPORT, "zoo.onednn"),
    "serving.commands": (*EXPORT, "zoo.video"),
    "serving.bench": EXPORT,
    "serving.bundle": EXPORT,
    "serving.containers": EXPORT,
    "serving.labels": EXPORT,
    "serving.rows": (*EXPORT, "zoo.sound", "zoo.video"),
    "serving.runs": EXPORT,
    "serving.streams": (*EXPORT, "zoo.sound"),
    "serving.config_text": (),
    "serving.files": (),
    "serving.following": (),
    "serving.targets": ("serving.tls", "zoo.errors"),
    "serving.templates": (),
    "serving.server": (*SPOKEN, "serving.following"),
    **dict.fromkeys(CLIENT, (*SPOKEN, *CLIENT, "serving.server")),
    **dict.fromkeys(SPOKEN, SPOKEN),
    "recipes": ("zoo", "serving.export", "serving.files", "serving.rows", *SPOKEN),
    "tuning": ("recipes", "zoo", "serving"),
    "benchmarks": ("recipes", "zoo", "serving", "tuning"),
    "tests": OURS,
}
"""What a module may import of ours besides its own package; the longest name that fits counts."""

WITHOUT_TENSORFLOW = (
    *CLIENT,
    "serving.streams",
    "serving.commands",
    "serving.labels",
    "serving.bench",
    *SPOKEN,
)
HEAVY = ("tensorflow", "tensorflow_text", "tensorflow_serving", "keras")


class TestArrows:
    """Who may import whom."""

    def test_imports_follow_the_arrows(self):
        wrong = []
        for module in modules():
            own = max((name for name in ARROWS if within(module.name, name)), key=len, default="")
            if not own and module.name not in OURS:
                wrong.append(f"{module.place}: give {module.name} a line in ARROWS")
            allowed = (own, *ARROWS.get(own, ()))
            for each in module.imports():
                if is_ours(each.target) and not any(within(each.target, to) for to in allowed):
                    wrong.append(f"{module.place}: must not import {each.target}")
        assert not wrong, tell(wrong)

    def test_the_client_side_imports_no_tensorflow_with_itself(self):
        wrong = [
            f"{module.place}: imports {each.target} at module level"
            for module in modules()
            for each in module.imports()
            if each.at_once
            and any(within(module.name, name) for name in WITHOUT_TENSORFLOW)
            and any(within(each.target, name) for name in HEAVY)
        ]
        assert not wrong, tell(wrong)

    def test_no_modules_import_each_other_in_a_circle(self):
        graph: dict[str, set[str]] = {}
        for module in modules():
            targets = {each.target for each in module.imports() if each.at_once}
            graph.setdefault(module.name, set()).update(
                target for target in targets if target in module_names() and target != module.name
            )
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            pytest.fail(" -> ".join(error.args[1]))

    def test_the_reader_of_imports_sees_every_kind(self, tmp_path: Path):
        source = (
            "import numpy as np\n"
            "from zoo import ports, layers\n"
            "from zoo.errors import PortError\n"
            "if TYPE_CHECKING:\n    import keras\n"
            "def late():\n    from recipes import run\n"
            "class Inner:\n    import scipy.special\n"
        )
        path = tmp_path / "example.py"
        path.write_text(source, encoding="utf-8")
        assert Module("example", path).imports() == [
            Import("numpy", True),
            Import("zoo.ports", True),
            Import("zoo.layers", True),
            Import("zoo.errors", True),
            Import("keras", False),
            Import("recipes.run", False),
            Import("scipy.special", True),
        ]


@pytest.mark.parametrize("name", RECIPES)
class TestRecipeContract:
    """A recipe is read top to bottom, and every one in the same order."""

    ORDER = ["Config", "PRESETS", "load", "build", "train", "evaluate", "baselines", "report"]
    ORDER += ["HEADLINE", "SIGNATURES", "main"]

    def tree(self, name: str) -> ast.Module:
        return parsed(ROOT / "recipes" / f"{name}.py")

    def test_its_parts_stand_in_the_agreed_order(self, name: str):
        defined = []
        for node in self.tree(name).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                defined.append(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                defined += [target.id for target in targets if isinstance(target, ast.Name)]
        assert [each for each in defined if each in self.ORDER] == self.ORDER

    def test_its_docstring_holds_its_command(self, name: str):
        assert f"python -m recipes {name} train" in (ast.get_docstring(self.tree(name)) or "")

    def test_its_configuration_is_frozen_and_explains_every_field(self, name: str):
        (config,) = (
            node
            for node in self.tree(name).body
            if isinstance(node, ast.ClassDef) and node.name == "Config"
        )
        assert "dataclass(frozen=True)" in map(ast.unparse, config.decorator_list)
        assert ast.get_docstring(config)
        pairs = itertools.pairwise([*config.body, ast.Pass()])
        behind = {node: after for node, after in pairs if isinstance(node, ast.AnnAssign)}
        assert behind
        for field, after in behind.items():
            text = after.value if isinstance(after, ast.Expr) else None
            documented = isinstance(text, ast.Constant) and isinstance(text.value, str)
            assert documented, f"{ast.unparse(field)}: say behind it what it is, in which unit"

    def test_its_presets_and_signatures_hold_what_every_recipe_has(self, name: str):
        module = importlib.import_module(f"recipes.{name}")
        assert {"tiny", "base", "large"} <= {*module.PRESETS}
        assert {type(preset) for preset in module.PRESETS.values()} == {module.Config}
        assert "serving_default" in module.SIGNATURES


IMPORTS = (
    "import zoo",
    "import recipes",
    "import serving.client",
    "import tuning.commands, tuning.search, tuning.folder, tuning.report.page",
    "import tuning.jobs.command",
    "from zoo import datasets, metrics, layers, models, preprocessing, decoding, pipeline",
    *(f"import recipes.{name}" for name in RECIPES),
)
HELPS = (["--help"], *([name, *rest, "--help"] for name in RECIPES for rest in ([], ["train"])))
ONE_AFTER_ANOTHER = """
import contextlib, json, os, runpy, sys
imports, helps, heavy = json.loads(sys.argv[1])
loaded = {}
def note(what):
    loaded[what] = sorted({*heavy} & sys.modules.keys())
for code in imports:
    exec(code)
    note(code)
for words in helps:
    sys.argv = ["recipes", *words]
    with contextlib.suppress(SystemExit), open(os.devnull, "w") as null:
        with contextlib.redirect_stdout(null):
            runpy.run_module("recipes", run_name="__main__")
    assert "recipes.commands" in sys.modules
    note(" ".join(words))
print(json.dumps(loaded))
"""


@functools.cache
def loaded() -> dict[str, list[str]]:
    """Return what is heavy and there after each, in one process: nothing is ever unloaded."""
    told = json.dumps([IMPORTS, HELPS, HEAVY])
    command = [sys.executable, "-W", "error", "-c", ONE_AFTER_ANOTHER, told]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestCostOfImports:
    """Help and client answer at once, since TensorFlow is not loaded for them."""

    @pytest.mark.parametrize("code", IMPORTS)
    def test_an_import_loads_no_tensorflow(self, code: str):
        assert loaded()[code] == []

    @pytest.mark.parametrize("words", HELPS, ids=" ".join)
    def test_help_loads_no_tensorflow(self, words: list[str]):
        assert loaded()[" ".join(words)] == []


def listed(*options: str) -> list[str]:
    """Return the files that git lists; skip the test where the project is no git checkout."""
    try:
        command = ["git", "ls-files", "-z", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    return [name for name in done.stdout.decode().split("\0") if name]


class TestCheckout:
    """What a stranger gets who clones the project."""

    def test_no_source_file_is_ignored(self):
        ignored = listed("--others", "--ignored", "--exclude-standard", "--", *OURS)
        assert not [name for name in ignored if Path(name).suffix in (".py", ".pyi", ".html")]

    def test_no_file_names_a_folder_of_one_machine_or_a_package_index(self):
        machine = re.compile(r"(?<![\w.])(?:/(?:home|root|Users|work|mnt|workspace)/|[A-Z]:\\)\w")
        index = re.compile(r"\bpypi\.|\bpythonhosted\.|--(?:extra-)?index-url|\bsimple/\s")
        wrong = []
        for name in listed("--cached", "--others", "--exclude-standard"):
            path = ROOT / name
            content = path.read_bytes() if path.is_file() else b""
            if b"\0" in content:
                continue
            for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
                if machine.search(line) or index.search(line):
                    wrong.append(f"{name}:{number}: {line.strip()[:80]}")
        assert not wrong, tell(wrong)
