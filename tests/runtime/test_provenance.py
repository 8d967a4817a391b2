"""Every number that the project writes says what it came from: data, versions, machine, commit, weights."""

import hashlib
import json
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
import torch

import digit_recognizer
from digit_recognizer import checkpoints, models, recipes
from digit_recognizer.data import sources
from digit_recognizer.runtime import provenance
from digit_recognizer.study import record_store, sweep

ROOT = Path(__file__).parents[2]


def check_provenance(written: dict, md5: dict[str, str]) -> None:
    """The data's MD5s, and versions, machine, threads and commit, which are those of now."""
    assert written["md5"] == md5
    made_with = written["made_with"]
    assert made_with["package"] == digit_recognizer.__version__
    assert made_with["torch"] == str(torch.__version__) and made_with["numpy"] == np.__version__
    assert made_with["python"] == platform.python_version() and made_with["system"] == platform.system()
    assert made_with["device"] == "cpu" and made_with["device_name"]
    assert made_with["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert made_with["matmul_precision"] in ("highest", "high", "medium")
    assert (made_with["threads"], made_with["processes"]) == (1, 1)
    assert made_with["commit"] is None or re.fullmatch("[0-9a-f]{40}", made_with["commit"])
    assert made_with["changed"] in ((None,) if made_with["commit"] is None else (True, False))


def test_record_checkpoint_and_scores_of_a_training_say_what_they_came_from(tmp_path, optdigits, command):
    flags = ("--recipe", "mlp_128_adam", "--dataset", "optdigits", "--epochs", 1, "--out", tmp_path, "--quiet")
    assert command("train", *flags)[0] == 0
    record = json.loads((tmp_path / "runs/mlp_128_adam/optdigits-seed0.json").read_text())
    check_provenance(record, optdigits.md5)
    checkpoint = checkpoints.load(tmp_path / "optdigits_model.pth")
    assert checkpoint.record == record and provenance.weights_hash(checkpoint.model) == record["weights"]
    assert command("evaluate", tmp_path / "optdigits_model.pth", "--json", tmp_path / "scores.json")[0] == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    check_provenance(scores, optdigits.md5)
    assert record["made_with"]["training_precision"] == "float32" and "training_precision" not in scores["made_with"]
    assert scores["weights"] == record["weights"]


def test_a_studys_records_and_ensembles_say_what_they_came_from(optdigits, tmp_path):
    small = recipes.get("mlp_128_adam", dataset="optdigits", epochs=1)
    sweep.run([small], 3, tmp_path, workers=1)
    found = record_store.read_all(tmp_path, small)
    ensemble = json.loads((tmp_path / "mlp_128_adam/optdigits-ensemble.json").read_text())
    for written in (*found, ensemble):
        check_provenance(written, optdigits.md5)
    assert ensemble["weights"] == [record["weights"] for record in found]
    assert all(re.fullmatch("[0-9a-f]{64}", weights) for weights in ensemble["weights"])


def test_the_committed_benchmarks_say_what_they_came_from():
    benchmarks = json.loads((ROOT / "results/benchmark.json").read_text())
    for part in (benchmarks, *(benchmarks[name] for name in ("training_time", "contention", "scaling", "frameworks"))):
        assert part["md5"] == sources.MNIST_MD5
        assert {"package", "torch", "device_name", "instructions", "threads", "commit"} <= part["made_with"].keys()
    for runs in benchmarks["training_time"]["runs"].values():
        assert all(re.fullmatch("[0-9a-f]{64}", run["weights"]) for run in runs)


def test_a_commit_is_said_only_where_the_package_is_part_of_it(tmp_path, monkeypatch):
    def commit(path: str) -> None:
        settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        for command in (["add", path], ["commit", "--quiet", "-m", "one"]):
            subprocess.run(["git", *settings, *command], cwd=tmp_path, check=True)

    package = tmp_path / "lib/digit_recognizer"
    (package / "runtime").mkdir(parents=True)
    for path in ("theirs.py", "lib/digit_recognizer/__init__.py"):
        (tmp_path / path).touch()
    monkeypatch.setattr(provenance, "__file__", str(package / "runtime/provenance.py"))
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    commit("theirs.py")
    assert provenance._commit() == {"commit": None, "changed": None}  # it was installed within another project
    commit("lib")
    said = provenance._commit()
    assert len(said["commit"]) == 40 and said["changed"] is False
    (package / "__init__.py").write_text("changed = True")
    assert provenance._commit() == said | {"changed": True}


def test_the_hash_of_weights_is_that_of_their_names_and_bytes():
    model = models.build(recipes.get("mlp_128_adam"))
    expected = hashlib.sha256()
    for name, value in model.state_dict().items():
        expected.update(name.encode() + value.numpy().tobytes())
    assert provenance.weights_hash(model) == expected.hexdigest()
