"""Reads the sources of the project for the rules that are tested on them.

The code is parsed, not run, so that a rule also holds for what no test happens to execute.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("zoo", "recipes", "serving", "tuning", "benchmarks")
OURS = (*PRODUCT, "tests")


@dataclass(frozen=True)
class Import:
    """One imported module: its full name, and whether it is imported with the file itself."""

    target: str
    at_once: bool


@dataclass(frozen=True)
class Module:
    """A source file and its name as a module."""

    name: str
    path: Path

    @property
    def place(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def tree(self) -> ast.Module:
        return parsed(self.path)

    def imports(self) -> list[Import]:
        return [
            Import(target, at_once)
            for statement, at_once in _import_statements(self.tree.body, at_once=True)
            for target in self._targets(statement)
        ]

    def _targets(self, statement: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(statement, ast.Import):
            return [alias.name for alias in statement.names]
        base = statement.module or ""
        if statement.level:
            package = self.name.split(".")
            above = statement.level - (self.path.stem == "__init__")
            parts = package[: len(package) - above]
            base = ".".join([*parts, *filter(None, [base])])
        names = [f"{base}.{alias.name}" for alias in statement.names]
        return [name if name in module_names() else base for name in names]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _import_statements(
    statements: list[ast.stmt], at_once: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement, at_once
            continue
        later = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test)
        )
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(statement, name, [])
            yield from _import_statements(inner, at_once and not (later and name == "body"))


@cache
def modules() -> tuple[Module, ...]:
    """Return every Python file of ours, stubs included."""
    files = [path for package in OURS for path in sorted((ROOT / package).rglob("*.py*"))]
    return tuple(Module(_name(path), path) for path in files if path.suffix in (".py", ".pyi"))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def module_names() -> frozenset[str]:
    return frozenset(module.name for module in modules())


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def is_ours(name: str) -> bool:
    return any(within(name, package) for package in OURS)


def product() -> list[Module]:
    own = (module for module in modules() if not within(module.name, "tests"))
    return [module for module in own if module.path.suffix == ".py"]


def public_definitions(
    body: list[ast.stmt], prefix: str = ""
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield public classes, functions and methods with their dotted names."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{prefix}{node.name}.")


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def tell(complaints: list[str]) -> str:
    return "\n".join(["", *complaints])
