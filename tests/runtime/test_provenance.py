"""Every number that the project writes says what it came from: data, versions, machine, commit, weights."""

import dataclasses
import hashlib
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import digit_recognizer
from benchmarks import compare_frameworks, contention, epoch, scaling, training_time
from digit_recognizer import checkpoints, data, models, recipes
from digit_recognizer.data import sources
from digit_recognizer.runtime import provenance
from digit_recognizer.study import record_store, sweep, tables

ROOT = Path(__file__).parents[2]
MD5 = re.compile("[0-9a-f]{32}")
SHA256 = re.compile("[0-9a-f]{64}")


def check_provenance(written: dict) -> None:
    """The data's MD5s, and versions, machine, threads and commit, which are those of now."""
    assert written["md5"] and all(MD5.fullmatch(md5) for md5 in written["md5"].values())
    made_with = written["made_with"]
    assert made_with["package"] == digit_recognizer.__version__
    assert made_with["torch"] == str(torch.__version__) and made_with["numpy"] == np.__version__
    assert made_with["python"] == platform.python_version() and made_with["system"] == platform.system()
    assert made_with["device"] == "cpu" and made_with["device_name"]
    assert made_with["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert made_with["matmul_precision"] in ("highest", "high", "medium")
    assert made_with["threads"] and made_with["processes"] == 1
    assert made_with["commit"] is None or re.fullmatch("[0-9a-f]{40}", made_with["commit"])
    assert made_with["changed"] in ((None,) if made_with["commit"] is None else (True, False))


def test_the_main_commands_record_and_checkpoint_say_what_they_came_from(monkeypatch, tmp_path, optdigits, command):
    script = ROOT / "mnist_recognition.py"
    flags = ["--recipe", "mlp_128_adam", "--dataset", "optdigits", "--epochs", "1", "--out", str(tmp_path), "--quiet"]
    monkeypatch.setattr(sys, "argv", [str(script), *flags, "--device", "cpu"])
    runpy.run_path(str(script), run_name="__main__")
    record = json.loads((tmp_path / "runs/mlp_128_adam/optdigits-seed0.json").read_text())
    checkpoint = checkpoints.load(tmp_path / "optdigits_model.pth")
    check_provenance(record)
    assert record["md5"] == optdigits.md5
    assert checkpoint.record == record
    assert provenance.weights_hash(checkpoint.model) == record["weights"]
    # and so does what is said of that checkpoint
    assert command("evaluate", tmp_path / "optdigits_model.pth", "--json", tmp_path / "scores.json")[0] == 0
    scored = json.loads((tmp_path / "scores.json").read_text())
    check_provenance(scored)
    assert (scored["weights"], scored["md5"]) == (record["weights"], record["md5"])


def test_a_studys_records_and_ensembles_say_what_they_came_from(optdigits, tmp_path):
    small = dataclasses.replace(recipes.get("mlp_128_adam"), dataset="optdigits", epochs=1)
    sweep.run([small], 3, tmp_path, workers=1)
    found = record_store.read_all(tmp_path, small)
    for record in found:
        check_provenance(record)
        assert SHA256.fullmatch(record["weights"])
    ensemble = json.loads((tmp_path / "mlp_128_adam/optdigits-ensemble.json").read_text())
    check_provenance(ensemble)
    assert ensemble["weights"] == [record["weights"] for record in found]
    assert ensemble["md5"] == optdigits.md5


def few(mnist: data.Digits) -> data.Digits:
    """MNIST's first 640 digits of each part, whose training takes no time."""
    parts = (data.Split(part.images[:640], part.labels[:640]) for part in (mnist.train, mnist.test))
    train, test = parts
    return data.Digits("mnist", train, None, test, mnist.md5)


def kept(folder: Path) -> dict:
    """What a benchmark wrote there."""
    return json.loads((folder / "benchmark.json").read_text())


def test_the_benchmark_of_loops_says_what_it_came_from(mnist, monkeypatch, tmp_path):
    monkeypatch.setattr(epoch.data, "load", lambda *_: few(mnist))
    whole = epoch.usual_set
    monkeypatch.setattr(epoch, "usual_set", lambda *given: torch.utils.data.Subset(whole(*given), range(640)))
    epoch.run(tmp_path, rounds=1)
    check_provenance(kept(tmp_path))
    assert kept(tmp_path)["md5"] == sources.MNIST_MD5


def test_the_ladders_times_say_what_they_came_from(mnist, monkeypatch, tmp_path):
    monkeypatch.setattr(training_time.data, "load", lambda *_, **__: few(mnist))
    monkeypatch.setattr(training_time, "PUBLISHED", (recipes.get("mlp_128_adam"),))
    monkeypatch.setattr(training_time, "OURS", ())
    monkeypatch.setattr(training_time, "PREDICTED", ("mlp_128_adam",))
    monkeypatch.setattr(training_time, "MANY", 1)
    training_time.run(tmp_path, rounds=1)
    ladder = kept(tmp_path)["ladder"]
    check_provenance(ladder)
    runs = ladder["runs"]["mlp_128_adam"]
    assert runs and all(SHA256.fullmatch(run["weights"]) for run in runs)


@pytest.mark.usefixtures("mnist")
def test_the_other_benchmarks_say_what_they_came_from(monkeypatch, tmp_path):
    """Their times are given here, for they take minutes to measure; what is written beside them is real."""
    said = {"seconds": 1.0, "epochs": [0.5, 0.5], "accuracy": 0.9}
    monkeypatch.setattr(compare_frameworks, "installed", lambda: (["ours", "usual"], []))
    monkeypatch.setattr(compare_frameworks, "in_a_process", lambda *_: said)
    monkeypatch.setattr(contention, "epoch", lambda *_: 1.0)
    monkeypatch.setattr(contention.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(scaling, "in_a_process", lambda *_: {"digits": 1, "seconds": 1.0, "peak_mb": 1.0})
    monkeypatch.setattr(scaling, "COPIES", (1,))
    monkeypatch.setattr(scaling, "WIDTHS", ())
    monkeypatch.setattr(scaling, "start", lambda *_: 0.1)
    for module in (compare_frameworks, contention, scaling):
        module.run(tmp_path, rounds=1)
    for part in ("peers", "crowd", "scaling"):
        check_provenance(kept(tmp_path)[part])
        assert kept(tmp_path)[part]["md5"] == sources.MNIST_MD5


def test_records_from_before_all_this_was_written_stay_readable():
    found = record_store.read_all(ROOT / "results", recipes.get("mlp_128_adam"))
    assert len(found) >= 30 and "numpy" not in found[0]["made_with"]
    assert "mlp_128_adam" in tables.ensembles(ROOT / "results")


def repository_with_the_package(folder: Path, *committed: str) -> Path:
    """A git repository that holds a copy of the package in lib, and one commit of these paths. Returns lib."""
    shutil.copytree(Path(digit_recognizer.__file__).parent, folder / "lib" / "digit_recognizer")
    (folder / ".gitignore").write_text("__pycache__\n" if "lib" in committed else "lib\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "--quiet"], ["add", ".gitignore", *committed], ["commit", "--quiet", "-m", "one"]):
        subprocess.run(["git", *who, *command], cwd=folder, check=True)
    return folder / "lib"


def commit_said_in(library: Path) -> dict:
    """What the package there says of its commit."""
    program = "import json; from digit_recognizer.runtime import provenance; print(json.dumps(provenance._commit()))"
    variables = os.environ | {"PYTHONPATH": str(library)}
    return json.loads(subprocess.check_output([sys.executable, "-c", program], env=variables, text=True))


def test_a_commit_is_said_only_where_the_package_is_part_of_it(tmp_path):
    theirs = repository_with_the_package(tmp_path / "theirs")  # as an environment below somebody's own project
    assert commit_said_in(theirs) == {"commit": None, "changed": None}
    ours = repository_with_the_package(tmp_path / "ours", "lib")
    said = commit_said_in(ours)
    assert len(said["commit"]) == 40 and said["changed"] is False
    with (ours / "digit_recognizer" / "models.py").open("a") as file:
        file.write("\n")
    assert commit_said_in(ours) == said | {"changed": True}


def test_the_hash_of_weights_is_that_of_their_names_and_bytes():
    model = models.build(recipes.get("mlp_128_adam"))
    expected = hashlib.sha256()
    for name, value in model.state_dict().items():
        expected.update(name.encode() + value.numpy().tobytes())
    assert provenance.weights_hash(model) == expected.hexdigest()
