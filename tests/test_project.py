"""What stands in two places says the same in both, and nothing is asked for that is not used."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from digit_recognizer import export

ROOT = Path(__file__).parent.parent
CONSTRAINTS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
REQUIRED = re.findall(r"^([\w-]+)>=", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
# Packages whose import has another name, and those that are used as commands.
IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "pillow": "PIL",
    "streamlit-drawable-canvas": "streamlit_drawable_canvas",
}
COMMANDS = {"jupyter": "-m jupyter", "nbval": "--nbval-lax", "ruff": "ruff check"}


def imported_modules() -> set[str]:
    """The top-level names that our Python files import."""
    names = set()
    for path in [ROOT / "mnist_recognition.py", *(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", REQUIRED)
def test_every_requirement_is_pinned_and_used(package):
    assert package in CONSTRAINTS
    if package in COMMANDS:
        callers = [ROOT / "Makefile", ROOT / "tests/test_notebooks.py"]
        text = "".join(path.read_text(encoding="utf-8") for path in callers).replace('", "', " ")
        assert COMMANDS[package] in text
    else:
        assert IMPORT_NAMES.get(package, package) in imported_modules()


def test_the_extra_for_exporting_holds_what_exporting_imports_and_is_installed_and_pinned():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    packages = {re.fullmatch(r"(\w+)>=[\d.]+", requirement)[1] for requirement in extras["export"]}
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
