"""The rules of style: what is documented and annotated, and how long it may be."""

from __future__ import annotations

import ast

from tests.sources import functions, modules, product, public_definitions, tell, within

OVERRIDES = {"build", "call", "compute_mask", "compute_output_shape", "get_config", "from_config"}
"""Methods that Keras calls, and documents."""


def promised(tree: ast.Module, name: str) -> bool:
    """Say whether a base class in the same module documents this method."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    owner, _, method = name.rpartition(".")
    bases = [base.id for base in getattr(classes.get(owner), "bases", []) if hasattr(base, "id")]
    return any(
        isinstance(node, ast.FunctionDef) and node.name == method and ast.get_docstring(node)
        for base in bases
        if base in classes
        for node in classes[base].body
    )


class TestHouseStyle:
    """What a reader may expect of every file."""

    def test_every_public_name_is_documented(self):
        missing = [module.place for module in product() if not ast.get_docstring(module.tree)]
        for module in product():
            for name, node in public_definitions(module.tree.body):
                inherited = node.name in OVERRIDES and "." in name
                if not (inherited or promised(module.tree, name)) and not ast.get_docstring(node):
                    missing.append(f"{module.place}:{node.lineno}: {name} has no docstring")
        assert not missing, tell(missing)

    def test_every_function_is_annotated(self):
        missing = []
        for module in product():
            for node in functions(module):
                given = node.args
                arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
                arguments += filter(None, [given.vararg, given.kwarg])
                bare = {each.arg for each in arguments if not each.annotation} - {"self", "cls"}
                if bare or not node.returns:
                    what = ", ".join(sorted(bare)) or "what it returns"
                    missing.append(f"{module.place}:{node.lineno}: {node.name}: annotate {what}")
        assert not missing, tell(missing)

    def test_no_file_is_longer_than_400_lines(self):
        long = []
        for module in modules():
            lines = len(module.path.read_text(encoding="utf-8").splitlines())
            if lines > 400:
                long.append(f"{module.place}: {lines} lines: split it")
        assert not long, tell(long)

    def test_no_function_is_longer_than_40_lines_and_no_model_constructor_than_90(self):
        long = []
        for module in modules():
            for node in functions(module):
                constructor = within(module.name, "zoo.models") and node.name == "__init__"
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > (90 if constructor else 40):
                    long.append(f"{module.place}:{node.lineno}: {node.name}: {lines} lines")
        assert not long, tell(long)
