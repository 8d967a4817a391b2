"""Notebook and script tell the same story: the same imports, the same calls in the same order, the same result."""

import ast
import json
import runpy
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "MNIST_Recognition_machine.ipynb"
SCRIPT = ROOT / "mnist_recognition.py"
CORE = ["checkpoints", "data", "evaluation", "models", "plots", "recipes", "records", "training"]
MODULES = [*CORE, "calibration"]


def notebook_code() -> str:
    """All code of the notebook, without what only IPython understands."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return "\n".join(line for line in code.splitlines() if not line.startswith("%"))


def imports(code: str) -> list[tuple[str, list[str]]]:
    """Each `from digit_recognizer... import names`."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) and node.module]
    ours = [node for node in nodes if node.module.split(".")[0] == "digit_recognizer"]
    return [(node.module, [name.name for name in node.names]) for node in ours]


def calls(code: str) -> list[str]:
    """Every call of a function of ours, such as training.fit, in the order of the text."""
    found = [
        (node.lineno, node.col_offset, f"{node.func.value.id}.{node.func.attr}")
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in MODULES
    ]
    return [name for *_, name in sorted(found)]


def test_both_import_the_same_names_in_the_same_order():
    # Flags, and what must come before the import of torch; torchrun starts scripts.
    script_only = [f"digit_recognizer.{name}" for name in ("cli", "runtime.threads", "runtime.distributed")]
    script = [each for each in imports(SCRIPT.read_text(encoding="utf-8")) if each[0] not in script_only]
    assert script[0] == ("digit_recognizer", CORE)
    assert imports(notebook_code())[: len(script)] == script


def test_both_make_the_same_calls_in_the_same_order():
    # A headless run also writes pictures, and keeps its progress; a reader also tries what was saved.
    script_only = {"plots.save", "checkpoints.load_progress"}
    notebook_only = {"evaluation.per_digit_table", "checkpoints.load_model", "plots.prediction"}
    script = [name for name in calls(SCRIPT.read_text(encoding="utf-8")) if name not in script_only]
    notebook = [name for name in calls(notebook_code()) if name not in notebook_only]
    assert notebook[: len(script)] == script
    assert set(notebook[len(script) :]) == {"evaluation.predict"}  # the reloaded network, and one's own digit


def test_both_are_short_and_define_nothing_but_main():
    script = SCRIPT.read_text(encoding="utf-8")
    defined = [node for code in (script, notebook_code()) for node in ast.walk(ast.parse(code))
               if isinstance(node, ast.ClassDef | ast.Lambda | ast.FunctionDef)]  # fmt: skip
    assert [node.name for node in defined] == ["main"]
    assert len(script.splitlines()) < 80
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert cell.cell_type != "code" or len(cell.source.splitlines()) <= 10, cell.source


@pytest.mark.usefixtures("no_network")
def test_both_end_with_the_same_result(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGITS_DATA_DIR", str(tmp_path / "empty"))
    (tmp_path / "notebook").mkdir()
    monkeypatch.chdir(tmp_path / "notebook")
    names: dict = {}
    exec(compile(notebook_code(), str(NOTEBOOK), "exec"), names)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--out", str(tmp_path / "script"), "--quiet"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    record = json.loads((tmp_path / "script/runs/mlp_512_256_adam_5ep/optdigits-seed0.json").read_text())
    for name in ("weights", "scores"):
        assert names["record"][name] == record[name]
    for ours, theirs in zip(names["history"], record["history"], strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}
