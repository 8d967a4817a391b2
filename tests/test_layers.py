"""The house stands as it was drawn: imports go down only, importing does nothing, and what is quick stays quick."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import digit_recognizer

PACKAGE = Path(digit_recognizer.__file__).parent
# A module may import from the floors below its own, never from its own or above.
FLOORS = [
    {"errors", "words", "verdicts"},
    {"processes", "picture_files", "ink", "strokes", "kinds", "inspection"},
    {"strengths"},
    {"recipe", "files", "download", "shared_statistics", "devices", "shapes", "pictures"},
    {"rows", "model_files"},
    {"images"},
    {
        "published",
        "ladder",
        "sources",
        "engines",
        "models",
        "augmentation",
        "plots",
        "jax_epoch",
        "limit",
        "optimizers",
    },
    {"variants", "data", "measurements"},
    {"recipes", "checkpoints", "nondigits", "by_hand"},
    {"command_line", "evaluation", "charts", "speed", "labelled"},
    {"calibration", "progress"},
    {"records", "training", "export", "flags", "recognizer"},
    {"runs"},
    {"ensembles"},
    {"study", "folds", "benchmark", "answers", "departures", "readings"},
    {"report", "predict", "verify"},
    {"peers", "stopwatch", "crowd", "scaling"},
    {"race"},
    {"apps"},
    {"__main__"},
]
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}


FILES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def module_of(path: Path) -> str:
    """What a file is called on the floors: its own name, or that of its folder."""
    return path.stem if path.parent == PACKAGE else path.parent.name


def imports_of_ours(path: Path) -> set[str]:
    """The modules of this package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "digit_recognizer":
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("digit_recognizer."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("digit_recognizer.")}
    return found - {"__version__"}


def test_every_module_has_its_floor():
    assert {module_of(path) for path in FILES} == set(FLOOR_OF)


def test_imports_go_to_a_lower_floor_only():
    edges = [(module_of(path), name) for path in FILES for name in imports_of_ours(path)]
    assert ("training", "data") in edges  # or the search above finds nothing at all
    for module, imported in edges:
        among_apps = module == imported == "apps"
        assert among_apps or FLOOR_OF[imported] < FLOOR_OF[module], f"{module} must not import {imported}"


def test_importing_the_modules_prints_nothing_and_writes_nothing(tmp_path):
    """All in one process, which says of the one that fails which it was: a process for each takes minutes."""
    names = sorted(FLOOR_OF.keys() - {"__main__", "apps"})
    names += [f"apps.{path.stem}" for path in FILES if module_of(path) == "apps"]
    program = f"import importlib\nfor name in {names}: importlib.import_module(f'digit_recognizer.{{name}}')"
    command = [sys.executable, "-W", "error::UserWarning", "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr, list(tmp_path.iterdir())) == (0, "", "", [])


def test_the_package_and_the_command_line_import_nothing_heavy():
    heavy = "{'torch', 'torchvision', 'numpy', 'matplotlib', 'sklearn', 'skimage', 'PIL', 'tqdm', 'onnx', 'tkinter'}"
    program = (
        "import sys, digit_recognizer.flags, digit_recognizer.__main__, digit_recognizer.race; "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "None")],
)
def test_the_thread_default_gives_way_to_the_users_own(given, expected):
    program = "import os, digit_recognizer; print(os.environ.get('GOMP_SPINCOUNT'))"
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    assert subprocess.check_output([sys.executable, "-c", program], env=clean | given, text=True).strip() == expected
