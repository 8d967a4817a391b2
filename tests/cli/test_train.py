"""Training by script and command: what a run leaves, one line for each mistake, stopping and resuming."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import pytest
from PIL import Image

from digit_recognizer import checkpoints, models, recipes, training
from digit_recognizer.runtime import provenance, threads

SCRIPT = Path(__file__).parents[2] / "mnist_recognition.py"
FIGURES = {"digits", "training_curves", "confusion_matrix", "prediction_grid", "mistakes", "first_layer"}
OLD = b"an older model"
PROGRESS = "runs/mlp_128_64_adam_200ep/optdigits-seed0.progress.pth"
LONG = ["--dataset", "optdigits", "--recipe", "mlp_128_64_adam_200ep", "--device", "cpu"]


needs_posix = pytest.mark.skipif(os.name != "posix", reason="only POSIX sends a process Ctrl-C and limits its files")


def run(folder: Path, *flags: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """Run the script in a process of its own, started from a folder."""
    command = [sys.executable, *python, str(SCRIPT), *flags]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    """The script in this process, from an empty folder with an older model in it: (status, stdout, stderr)."""

    def run(*flags: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *flags])
        status = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    (tmp_path / "optdigits_model.pth").write_bytes(OLD)
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """(folder, process) of a good run, short, on the embedded set."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(folder, "--dataset", "optdigits", "--recipe", "mlp_128_adam", "--epochs", "2")


def test_help_comes_without_torch(tmp_path):
    helped = run(tmp_path, "--help", python=("-X", "importtime"))
    assert helped.returncode == 0
    assert "digit_recognizer.recipes" in helped.stderr and "torch" not in helped.stderr
    flags = "recipe dataset data-dir out epochs batch-size learning-rate seed device threads resume quiet list"
    assert all(f"--{flag} " in helped.stdout for flag in flags.split())
    assert list(tmp_path.iterdir()) == []


def test_list_shows_every_recipe(run_here):
    status, out, err = run_here("--list")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["recipe", *recipes.RECIPES, "page_reader:"]
    assert "535,818" in out and "test 97.87%" in out


def test_a_run_leaves_model_record_and_figures_named_after_its_data_set(finished):
    folder, ran = finished
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "mlp_128_adam: 101,770 parameters, on " in ran.stdout
    lines = ran.stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == ["1/2", "2/2"]
    assert any(line.startswith("optdigits, n = 360 test digits (nothing is published of this") for line in lines)
    assert "MNIST" not in ran.stdout and "mnist_model" not in ran.stdout
    figures = {f"figures/optdigits/{name}.png" for name in FIGURES}
    assert files_in(folder) == figures | {"optdigits_model.pth", "runs/mlp_128_adam/optdigits-seed0.json"}
    for name in figures:
        with Image.open(folder / name) as picture:
            assert picture.width >= 600
    record = json.loads((folder / "runs/mlp_128_adam/optdigits-seed0.json").read_text())
    checkpoint = checkpoints.load(folder / "optdigits_model.pth")
    assert checkpoint.record == record
    assert checkpoint.recipe == recipes.get("mlp_128_adam", epochs=2)
    assert provenance.weights_hash(checkpoint.model) == record["weights"]
    assert (record["dataset"], record["overrides"], record["scores"]["count"]) == ("optdigits", {"epochs": 2}, 360)
    assert f"{record['scores']['accuracy']:.2%}" in ran.stdout


def test_digits_train_does_what_the_script_does(finished, command, tmp_path):
    flags = ("--dataset", "optdigits", "--recipe", "mlp_128_adam", "--epochs", 2, "--out", tmp_path)
    status, out, err = command("train", *flags)
    assert (status, err, out.splitlines()[0]) == (0, "", finished[1].stdout.splitlines()[0])
    made = "runs/mlp_128_adam/optdigits-seed0.json"
    records = [json.loads((folder / made).read_text()) for folder in (finished[0], tmp_path)]
    assert records[0]["weights"] == records[1]["weights"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--recipe mlp_512_256_adam_6ep", "unknown recipe 'mlp_512_256_adam_6ep'; the nearest is mlp_512_256_adam_5ep"),
        ("--recipe mlp_512", "unknown recipe 'mlp_512'; the nearest is mlp_512_256_adam_5ep"),
        ("--epochs -1", "epochs must be greater than zero and finite, not -1"),
        ("--epochs 1.5", "argument --epochs: invalid int value: '1.5'"),
        ("--epochs", "argument --epochs: expected one argument"),
        ("--batch-size 5000", "batch size 5,000 is larger than the 1,437 training digits"),
        ("--learning-rate nan", "learning rate must be greater than zero and finite, not nan"),
        ("--seed -1", "argument --seed: must be a whole number from 0"),
        ("--seed 99999999999999999999", "argument --seed: must be a whole number from 0"),
        ("--device gpu", "unknown device 'gpu'"),
        ("--threads 99999999999999999999", "threads must be at least 1 and at most 1,024"),
        ("--threads many", "argument --threads: must be auto or a whole number of at least 1, not 'many'"),
        ("--out optdigits_model.pth/new", "cannot write to the folder optdigits_model.pth/new"),
        ("--dataset mnist --data-dir optdigits_model.pth", "optdigits_model.pth is a file, not a folder"),
        ("--dataset letters", "unknown data set 'letters'; there are mnist, qmnist, qmnist-writers, optdigits"),
        ("--epoch 3", "unrecognized arguments: --epoch 3"),
        ("--resume", f"there is nothing to resume: {PROGRESS.replace('mlp_128_64_adam_200ep', recipes.DEFAULT)} does"),
    ],
)
def test_a_mistake_costs_one_line_and_nothing_else(flags, words, run_here, tmp_path):
    status, _, err = run_here(*("" if "--dataset" in flags else "--dataset optdigits --quiet").split(), *flags.split())
    assert status == 2
    assert err.startswith("error: ") and words in err.replace(os.sep, "/")
    assert err.endswith("\n") and err.count("\n") == 1
    assert (tmp_path / "optdigits_model.pth").read_bytes() == OLD
    assert not (tmp_path / "runs").exists() and not list(tmp_path.glob("*progress*"))


def test_by_default_and_on_a_busy_machine_it_is_one_thread_bit_for_bit(finished, run_here, tmp_path, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    monkeypatch.setattr(threads, "computing_shares", lambda count: [1.0, 0.5])
    record = "runs/mlp_128_adam/optdigits-seed0.json"
    default = json.loads((finished[0] / record).read_text())
    for number, said in (("1", ""), ("auto", "1 thread: the machine is busy")):
        status, out, _ = run_here(
            "--dataset", "optdigits", "--recipe", "mlp_128_adam", "--epochs", "2", "--threads", number
        )
        assert status == 0 and out.startswith(said or "mlp_128_adam: 101,770 parameters")
        again = json.loads((tmp_path / record).read_text())
        assert again["made_with"]["threads"] == default["made_with"]["threads"] == 1
        assert again["weights"] == default["weights"]


def test_an_idle_machine_is_found_before_torch_is_imported_and_the_record_holds_its_threads(tmp_path):
    program = f"""
import joblib, runpy, sys
from digit_recognizer.runtime import threads

def shares(count):
    assert "torch" not in sys.modules
    return [1.0] * count

joblib.cpu_count, threads.computing_shares = lambda: 2, shares
sys.argv = ["x", *"--dataset optdigits --recipe mlp_128_adam --epochs 1 --device cpu --threads auto".split()]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    passive = os.environ | {"OMP_WAIT_POLICY": "passive"}  # so that a busy machine does not slow this test
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, env=passive, capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("2 threads: all 2 cores are idle\nmlp_128_adam: ")
    record = json.loads((tmp_path / "runs/mlp_128_adam/optdigits-seed0.json").read_text())
    assert record["made_with"]["threads"] == 2


def test_a_mistake_in_a_process_of_its_own_ends_with_status_two(tmp_path):
    ran = run(tmp_path, "--recipe", "mlp_128_adma")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert ran.stderr.startswith("error: ") and "mlp_128_adam" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[Path, int, str, str]:
    """(folder, status, stdout, stderr) of a run stopped by Ctrl-C after its third epoch, beside an older model."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "optdigits_model.pth").write_bytes(OLD)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # an ignored signal would be inherited
    command = [sys.executable, str(SCRIPT), *LONG]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    timer = threading.Timer(300, process.kill)
    timer.start()
    with process:
        out = ""
        while "epoch   3/" not in out and (line := process.stdout.readline()):
            out += line
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate()
        timer.cancel()
    return folder, process.returncode, out + rest, err


@needs_posix
def test_ctrl_c_ends_training_with_one_line_and_whole_files(stopped):
    folder, status, out, err = stopped
    assert "epoch   3/200" in out and "epoch 200/200" not in out
    assert (status, err.strip()) == (130, "stopped by Ctrl-C; no file is left half-written")
    assert (folder / "optdigits_model.pth").read_bytes() == OLD
    assert files_in(folder) == {"optdigits_model.pth", PROGRESS, "figures/optdigits/digits.png"}


@needs_posix
def test_a_full_disk_costs_one_line_and_no_epoch_that_was_saved(stopped, tmp_path):
    shutil.copytree(stopped[0] / "runs", tmp_path / "runs")
    before = (tmp_path / PROGRESS).read_bytes()
    program = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2}, {len(before) // 2}))
sys.argv = [{str(SCRIPT)!r}, *{[*LONG, "--resume", "--quiet"]!r}]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    message = f"error: cannot write {PROGRESS}: File too large; what was there before is unchanged\n"
    assert (ran.returncode, ran.stdout.count("epoch"), ran.stderr) == (2, 0, message)
    assert (tmp_path / PROGRESS).read_bytes() == before
    assert files_in(tmp_path) == {PROGRESS, "figures/optdigits/digits.png"}


@needs_posix
def test_a_stopped_run_resumes_to_the_weights_of_one_that_was_not(stopped, run_here, tmp_path, optdigits):
    shutil.copytree(stopped[0] / "runs", tmp_path / "runs")
    recipe = recipes.get("mlp_128_64_adam_200ep")
    done = len(checkpoints.load_progress(tmp_path / PROGRESS, recipe, "optdigits", 0)["history"])
    assert 2 <= done < 200
    status, out, err = run_here(*LONG, "--resume", "--epochs", str(done + 2))
    assert (status, err) == (0, "")
    lines = [line for line in out.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == [f"{done + 1}/{done + 2}", f"{done + 2}/{done + 2}"]
    longer = recipes.get("mlp_128_64_adam_200ep", epochs=done + 2)
    whole, _ = training.fit(models.build(longer), optdigits, longer, quiet=True)
    record = json.loads(next(tmp_path.rglob("optdigits-seed0.json")).read_text())
    saved = checkpoints.load_model(tmp_path / "optdigits_model.pth")
    assert record["weights"] == provenance.weights_hash(whole) == provenance.weights_hash(saved)
    assert len(record["history"]) == done + 2
    assert not (tmp_path / PROGRESS).exists()
