"""Imports go down only, importing does nothing else, and the package and its command line import nothing heavy."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import digit_recognizer

PACKAGE = Path(digit_recognizer.__file__).parent
# From the ground up. A module in no other folder belongs to the core.
FLOORS = ["runtime", "preprocessing", "recipes", "data", "core", "page_reader", "recognition", "study", "apps", "cli"]
FILES = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.name.startswith("__")]


def floor_of(module: str) -> int:
    """Of a module's dotted name within the package."""
    top = module.split(".")[0]
    return FLOORS.index(top if top in FLOORS else "core")


def imports_of_ours(path: Path) -> set[str]:
    """The modules of this package that a file imports, anywhere in it, by their names within the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "digit_recognizer":
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            found |= {name.partition(".")[2] for name in names if name.startswith("digit_recognizer.")}
    return found - {"__version__"}


def test_imports_go_down_only():
    edges = [(".".join(path.relative_to(PACKAGE).with_suffix("").parts), name)
             for path in FILES for name in imports_of_ours(path)]  # fmt: skip
    assert ("training", "data") in edges  # or the search above finds nothing at all
    assert {(one, other) for one, other in edges if floor_of(other) > floor_of(one)} == set()


def test_importing_the_modules_prints_nothing_and_writes_nothing(tmp_path):
    names = sorted(".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in FILES)
    program = f"import importlib\nfor name in {names}: importlib.import_module(f'digit_recognizer.{{name}}')"
    command = [sys.executable, "-W", "error::UserWarning", "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stdout, ran.stderr, list(tmp_path.iterdir())) == (0, "", "", [])


def test_the_package_the_command_line_and_the_apps_import_nothing_heavy():
    heavy = "{'torch', 'torchvision', 'numpy', 'matplotlib', 'skimage', 'PIL', 'tqdm', 'onnx', 'tkinter', 'streamlit'}"
    modules = ["__main__", "cli.parser", "apps.window", "apps.web.server"]
    names = ", ".join(["sys", "benchmarks.__main__", *(f"digit_recognizer.{module}" for module in modules)])
    program = f"import {names}; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True, cwd=PACKAGE.parents[1]).strip() == "[]"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "None")],
)
def test_the_thread_default_gives_way_to_the_users_own(given, expected):
    program = "import os, digit_recognizer; print(os.environ.get('GOMP_SPINCOUNT'))"
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    assert subprocess.check_output([sys.executable, "-c", program], env=clean | given, text=True).strip() == expected
