"""What stands in two places says the same in both, and nothing is asked for that is not used."""

import ast
import importlib.metadata
import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
import stress

from digit_recognizer import export

ROOT = Path(__file__).parents[2]
CONSTRAINTS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
REQUIRED = re.findall(r"^([\w-]+)>=", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
# Packages whose import has another name, and those that are used as commands.
IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "pillow": "PIL",
    "streamlit-drawable-canvas": "streamlit_drawable_canvas",
}
COMMANDS = {"jupyter": "-m jupyter", "nbval": "--nbval-lax", "ruff": "ruff check", "mypy": "mypy src"}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
OPTIONAL = {re.match(r"[\w-]+", requirement)[0] for requirements in EXTRAS.values() for requirement in requirements}


def sources() -> list[str]:
    """The text of our Python files, and of each notebook's cells as one."""
    paths = [
        ROOT / "mnist_recognition.py",
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "benchmarks").rglob("*.py"),
    ]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    for path in [*ROOT.glob("*.ipynb"), *(ROOT / "notebooks").glob("*.ipynb")]:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code")
        texts.append(re.sub(r"(?m)^[%!].*$", "", code))  # Jupyter's own commands
    return texts


def imported_modules() -> set[str]:
    """The top-level names that our Python files and notebooks import."""
    names = set()
    for text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", REQUIRED)
def test_every_requirement_is_pinned_and_used(package):
    assert package in CONSTRAINTS
    if package in COMMANDS:
        callers = [ROOT / "Makefile", ROOT / "tests/repo/test_notebooks.py"]
        text = "".join(path.read_text(encoding="utf-8") for path in callers).replace('", "', " ")
        assert COMMANDS[package] in text
    else:
        assert IMPORT_NAMES.get(package, package) in imported_modules()


def test_every_optional_package_is_used():
    by_name = {name for names in export.PACKAGES.values() for name in names}  # asked for by these names
    assert imported_modules() | by_name >= OPTIONAL


def test_nothing_is_imported_that_is_not_asked_for():
    brought = {"distributed", "IPython", "nbformat", "websockets"}  # by dask[distributed], jupyter and streamlit
    asked = {IMPORT_NAMES.get(package, package) for package in REQUIRED} | OPTIONAL | brought
    ours = {"digit_recognizer"} | {path.stem for path in (ROOT / "tests").rglob("*.py")} | {"benchmarks"}
    assert imported_modules() - set(sys.stdlib_module_names) - ours <= asked


@pytest.mark.skipif(os.environ.get("CI_SCREEN") != "1", reason="only continuous integration must have the exact set")
def test_the_constraints_are_what_is_installed():
    installed = {one.name.lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()}
    for ours in ("pip", "setuptools", "digit-recognizer"):
        installed.pop(ours, None)
    assert installed == {name.lower().replace("_", "-"): version for name, version in CONSTRAINTS.items()}


def test_the_extra_for_exporting_holds_what_exporting_imports_and_is_installed_and_pinned():
    packages = {re.fullmatch(r"(\w+)>=[\d.]+", requirement)[1] for requirement in EXTRAS["export"]}
    assert packages == {name for names in export.PACKAGES.values() for name in names}
    assert packages <= set(CONSTRAINTS)
    assert (ROOT / "requirements.txt").read_text(encoding="utf-8").endswith("\n-e .[export,cluster]\n")
    assert {"dask", "distributed"} <= set(CONSTRAINTS)


def test_the_constraints_hold_versions_only():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(CONSTRAINTS) > 50
    assert "://" not in text and "@" not in text


def test_pre_commit_runs_the_ruff_that_is_pinned():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"ruff==([\d.]+)", text)) == {CONSTRAINTS["ruff"]}


def test_the_page_on_testing_quotes_the_last_long_run():
    assert stress.table() in (ROOT / "docs/testing.md").read_text(encoding="utf-8")


def test_the_page_on_testing_names_tests_that_there_are():
    named = re.findall(r"`([\w/]*test_\w+\.py)`", (ROOT / "docs/testing.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    assert {name for name in named if not (ROOT / "tests" / name).exists()} == set()
