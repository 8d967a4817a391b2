"""Every notebook runs, with MNIST and without; what is stored of it is fit to be looked at."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = [ROOT / "MNIST_Recognition_machine.ipynb", *sorted((ROOT / "notebooks").glob("*.ipynb"))]
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def run_nbval(notebook: Path, folder: Path) -> None:
    """Run a copy in a folder of its own, so that no model of the user's is overwritten."""
    shutil.copy(notebook, folder)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-q", notebook.name]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@every_notebook
@pytest.mark.usefixtures("mnist")
def test_it_runs_with_mnist(notebook, tmp_path):
    run_nbval(notebook, tmp_path)


@every_notebook
@pytest.mark.usefixtures("no_network")
def test_it_runs_without_data_and_network_and_never_says_mnist_of_them(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("DIGITS_DATA_DIR", str(tmp_path / "empty"))
    run_nbval(notebook, tmp_path)
    assert not list(tmp_path.rglob("*mnist*.pth")) + list(tmp_path.rglob("mnist*.json"))


@every_notebook
def test_its_stored_outputs_are_of_mnist_and_shown_by_any_viewer(notebook):
    content = nbformat.read(notebook, as_version=4)
    nbformat.validate(content)
    outputs = [output for cell in content.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "MNIST" in str(outputs) and "optdigits" not in str(outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "widgets" not in content.metadata
    for output in outputs:
        assert output.output_type != "error" and output.get("name") != "stderr"
        assert not any("widget" in kind for kind in output.get("data", {}))
