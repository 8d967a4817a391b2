"""The benchmark of a graphics card, tried on the CPU: every part is measured, and saved as soon as it is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import __main__ as benchmarks_main
from benchmarks import gpu, training_time
from digit_recognizer import data, recipes
from digit_recognizer.cli.parser import run_main

ROOT = Path(__file__).parents[2]


def call(monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", *map(str, arguments)])
    run_main(benchmarks_main.main)


def test_every_part_is_tried_on_the_cpu_and_nothing_is_written(mnist, monkeypatch, capsys, tmp_path):
    call(monkeypatch, "gpu", "--device", "cpu", "--quick", "--rounds", 1, "--out", tmp_path)
    first, *lines = capsys.readouterr().out.splitlines()
    assert "median (lowest to highest)" in first and not list(tmp_path.iterdir())
    assert [line.split()[0] for line in lines] == [recipes.DEFAULT, *gpu.PREDICTED, *gpu.TRAININGS]


def test_what_was_measured_before_a_stop_is_saved(optdigits, small_recipe, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "load", lambda *given: optdigits)
    monkeypatch.setattr(gpu, "TRAININGS", {"mlp_128_adam": 2})
    monkeypatch.setattr(gpu, "PREDICTED", ())
    monkeypatch.setattr(recipes, "RECIPES", dict.fromkeys(recipes.RECIPES, small_recipe))
    seen, train = [], training_time.time_training
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"another card": {}}))

    def saved() -> dict:
        ((known, _), (_, result)) = json.loads(path.read_text()).items()
        assert known == "another card"
        return result

    def train_until_stopped(recipe, digits, seed, *rest):
        seen.append(saved())
        return {}["stopped"] if seed else train(recipe, digits, seed, *rest)

    monkeypatch.setattr(training_time, "time_training", train_until_stopped)
    with pytest.raises(KeyError, match="stopped"):
        gpu.run(tmp_path, rounds=1, device="cpu")
    assert len(seen[0]["epoch"]["seconds"]) == 1 and not seen[0].get("trainings")
    (run,) = saved()["trainings"]["mlp_128_adam"]
    assert run["seed"] == 0 and run["seconds"] > 0 and saved()["made_with"]["device"] == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a graphics card")
def test_a_machine_without_a_card_says_so_in_one_line(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, "gpu", "--out", tmp_path)
    assert capsys.readouterr().err.startswith("error: this machine has no cuda that torch can use")


def test_a_bare_machine_with_pytorch_has_all_that_it_imports():
    others = "{'torchvision', 'scipy', 'skimage', 'sklearn', 'joblib', 'PIL', 'matplotlib', 'pooch', 'onnxruntime'}"
    program = f"import benchmarks.gpu, digit_recognizer.data.sources, sys; print(sorted({others} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True, cwd=ROOT).strip() == "[]"
