"""What stands in two places says the same in both, and nothing is asked for that is not used."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.version import Version

import digit_recognizer
from digit_recognizer import export
from digit_recognizer.runtime import packages

ROOT = Path(__file__).parents[2]
SOURCES, TESTS, BENCHMARKS = "src/**/*.py", "tests/**/*.py", "benchmarks/**/*.py"


def bounds(requirements: Iterable[str]) -> dict[str, str]:
    """The least version of each package of these lines."""
    found = (re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", line) for line in requirements)
    return {match[1]: match[2] for match in found if match}


CONSTRAINTS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = bounds(PROJECT["dependencies"])
EXTRAS = {name: bounds(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}
CLONE_EXTRAS = ("train", "apps", "export", "cluster", "notebooks", "dev")
ASKED = {**DEPENDENCIES, **{name: bound for extra in EXTRAS.values() for name, bound in extra.items()}}
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
CLONE = bounds(REQUIREMENTS)
# Packages whose import has another name, and those that are used as commands.
IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "pillow": "PIL",
    "streamlit-drawable-canvas": "streamlit_drawable_canvas",
}
COMMANDS = {
    "jupyter": "-m jupyter", "nbval": "--nbval-lax", "pytest-xdist": "pytest -n", "ruff": "ruff check",
    "mypy": "mypy src",
}  # fmt: skip


def code_of(path: Path) -> str:
    """The text of a Python file, or of all cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return re.sub(r"(?m)^[%!].*$", "", "\n".join("".join(lines) for lines in cells))  # without Jupyter's own commands


def imported(*patterns: str) -> set[str]:
    """The packages of others that these files import."""
    names = set()
    for path in (path for pattern in patterns for path in ROOT.glob(pattern)):
        for node in ast.walk(ast.parse(code_of(path))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module]
                names |= {module.split(".")[0] for module in modules}
    ours = {"digit_recognizer", "mnist_recognition", "benchmarks"}
    return names - set(sys.stdlib_module_names) - ours - {path.stem for path in (ROOT / "tests").rglob("*.py")}


def import_names(packages: Iterable[str]) -> set[str]:
    return {IMPORT_NAMES.get(package, package) for package in packages}


def test_library_and_extras_ask_for_what_is_imported():
    optional = {name for extra in ("train", "apps", "export", "cluster") for name in import_names(EXTRAS[extra])}
    assert imported(SOURCES) - optional - {"distributed"} == import_names(DEPENDENCIES)
    assert optional - {"onnxscript"} <= imported(SOURCES)  # which torch.onnx imports
    needed = {name for names in export.PACKAGES.values() for name in names}
    assert set(EXTRAS["export"]) == needed - set(DEPENDENCIES)
    for extra in ("train", "apps", "export", "cluster"):
        assert import_names(EXTRAS[extra]) <= set(packages.EXTRAS[extra]), extra
    assert set(EXTRAS["frameworks"]) <= imported(BENCHMARKS)
    brought = {
        "distributed",
        "IPython",
        "nbformat",
        "packaging",
        "websockets",
        "yaml",
    }  # by dask, jupyter, pytest, streamlit
    asked = import_names(ASKED)
    assert imported("*.py", "*.ipynb", "notebooks/*.ipynb", TESTS, BENCHMARKS) <= asked | brought


def test_the_list_for_a_clone_agrees_with_the_package_and_is_used():
    assert {"torch", "torchvision", "numpy", "matplotlib", "jupyter", "nbval"} == set(CLONE)
    assert {name: bound for name, bound in CLONE.items() if ASKED[name] != bound} == {}
    assert REQUIREMENTS[-1] == f"-e .[{','.join(extra for extra in CLONE_EXTRAS)}]"
    assert set(EXTRAS) - set(CLONE_EXTRAS) == {"frameworks"}
    assert {*EXTRAS["notebooks"], *EXTRAS["dev"]} - imported(TESTS) == set(COMMANDS)
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "tests/repo/test_notebooks.py")]
    calls = "".join(texts).replace('", "', " ")
    assert {package for package, call in COMMANDS.items() if call not in calls} == set()


def test_the_constraints_are_versions_within_the_bounds():
    for package, bound in {name: bound for name, bound in ASKED.items() if name not in EXTRAS["frameworks"]}.items():
        assert Version(CONSTRAINTS[package]) >= Version(bound), package
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(CONSTRAINTS) > 50
    assert "://" not in text and "@" not in text
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"ruff==([\d.]+)", hooks)) == {CONSTRAINTS["ruff"]}


@pytest.mark.skipif(os.environ.get("CI_SCREEN") != "1", reason="only continuous integration must have the exact set")
def test_the_constraints_are_what_is_installed():
    installed = {one.name.lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()}
    for ours in ("pip", "setuptools", "digit-recognizer"):
        installed.pop(ours, None)
    assert installed == {name.lower().replace("_", "-"): version for name, version in CONSTRAINTS.items()}


def version_of(package: str) -> Version:
    """The installed version; 0 if there is none."""
    try:
        return Version(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return Version("0")


@pytest.mark.skipif(version_of("setuptools") < Version("77"), reason="builds with the setuptools that is installed")
def test_the_wheel_holds_code_script_and_trained_networks(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE", "mnist_recognition.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "--no-deps", "--quiet", "."]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        metadata = f"digit_recognizer-{digit_recognizer.__version__}.dist-info"
        assert "digits = digit_recognizer.cli.main:start" in wheel.read(f"{metadata}/entry_points.txt").decode()
    sources = {path.relative_to(tmp_path / "src") for path in (tmp_path / "src").rglob("*") if path.is_file()}
    files = {path.as_posix() for path in sources if "egg-info" not in path.parts[0]} | {"mnist_recognition.py"}
    assert {name for name in names if ".dist-info/" not in name} == files
    trained = ("cnn_best.pth", "cnn_handwriting.pth", "cnn_handwriting.onnx", "page_reader.onnx")
    assert {f"digit_recognizer/pretrained/{name}" for name in trained} <= names
    hands = ("README.md", "hwd-1000.npz", "hwd-1000.LICENSE", "optdigits-original.npz")
    assert {f"digit_recognizer/public_hands/{name}" for name in hands} <= names
