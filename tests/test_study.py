"""The study: one record a seed, none made twice; and the committed records are what README says they are."""

import dataclasses
import json
import re
import statistics
from pathlib import Path

import pytest
import torch

from digit_recognizer import devices, evaluation, models, recipes, records, sources, study, training
from digit_recognizer.errors import UserError

ROOT = Path(__file__).parent.parent
COMMITTED = sorted((ROOT / "results").glob("*/mnist-seed*.json"))


@pytest.fixture(scope="module")
def small() -> recipes.Recipe:
    """A recipe on the embedded set, so that it needs no download."""
    return dataclasses.replace(recipes.get("mlp_128_adam"), dataset="optdigits", epochs=1)


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory) -> Path:
    """A study of two seeds."""
    out = tmp_path_factory.mktemp("results")
    study.run([small], 2, out)
    return out


def test_there_is_one_record_a_seed_and_the_seeds_differ(folder, small):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    assert names == ["mlp_128_adam/optdigits-seed0.json", "mlp_128_adam/optdigits-seed1.json"]
    first, second = study.read(folder, small)
    assert (first["seed"], second["seed"]) == (0, 1)
    assert first["weights"] != second["weights"]
    assert first["overrides"] == {"epochs": 1, "dataset": "optdigits"}


def test_a_record_says_what_a_run_alone_gives(folder, small, optdigits):
    devices.choose("cpu")  # as the study does, whose products it decides on
    model, history = training.fit(models.build(small, 1), optdigits, small, 1, quiet=True)
    record = study.read(folder, small)[1]
    assert record["weights"] == records.weights_hash(model)
    assert record["history"][0]["train_loss"] == history[0]["train_loss"]
    assert record["made_with"]["threads"] == 1


def test_finished_runs_are_skipped_and_missing_ones_made(folder, small, capsys):
    path = folder / "mlp_128_adam/optdigits-seed0.json"
    before = path.stat().st_mtime_ns
    study.run([small], 2, folder)
    assert capsys.readouterr().out == ""
    study.run([small], 3, folder)
    assert capsys.readouterr().out.count("\n") == 1
    assert path.stat().st_mtime_ns == before
    (folder / "mlp_128_adam/optdigits-seed2.json").unlink()


def test_runs_in_several_processes_give_the_same_weights_and_an_ensemble(folder, small, optdigits, tmp_path):
    study.run([small], 3, tmp_path, workers=2)
    alone, together = study.read(folder, small), study.read(tmp_path, small)
    assert [record["weights"] for record in together[:2]] == [record["weights"] for record in alone]
    found = json.loads((tmp_path / "mlp_128_adam/optdigits-ensemble.json").read_text())
    assert found["weights"] == [record["weights"] for record in together]
    assert found["scores"]["1"]["correct"] == together[0]["scores"]["correct"]
    networks = [training.fit(models.build(small, seed), optdigits, small, seed, quiet=True)[0] for seed in range(3)]
    mean = sum(evaluation.predict(model, optdigits.test.images).softmax(1) for model in networks)
    assert found["scores"]["3"]["correct"] == int((mean.argmax(1) == optdigits.test.labels).sum())
    assert list(found["scores"]) == ["1", "3"]


def test_a_record_that_cannot_be_read_is_named(folder, small):
    broken = folder / "mlp_128_adam/optdigits-seed7.json"
    broken.write_text('{"seed": 7, "sco')
    try:
        with pytest.raises(UserError, match=r"optdigits-seed7\.json"):
            study.read(folder, small)
    finally:
        broken.unlink()


def test_the_weights_hash_sees_a_single_bit():
    model = models.build(recipes.get("mlp_128_adam"))
    before = records.weights_hash(model)
    with torch.no_grad():
        model[2].bias[0] = torch.nextafter(model[2].bias[0], torch.tensor(1.0))
    assert records.weights_hash(model) != before


def test_only_mnist_goes_by_the_plain_names(tmp_path):
    recipe = recipes.get()
    mnist, embedded = (records.outputs(tmp_path, recipe, name, 3) for name in ("mnist", "optdigits"))
    assert mnist.model == tmp_path / "mnist_model.pth"
    assert mnist.record == tmp_path / "runs/mlp_512_256_adam_5ep/mnist-seed3.json"
    assert mnist.figures == tmp_path / "figures"
    assert embedded.figures == tmp_path / "figures/optdigits"
    for field in dataclasses.fields(records.Outputs):
        assert getattr(mnist, field.name) != getattr(embedded, field.name)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_committed_record_is_of_the_published_recipe_on_the_whole_of_mnist(path):
    record = json.loads(path.read_text())
    recipe = recipes.RECIPES[path.parent.name]
    assert (record["recipe"], record["overrides"], record["dataset"]) == (recipe.name, {}, "mnist")
    assert path.stem == f"mnist-seed{record['seed']}"
    assert record["md5"] == sources.MNIST_MD5
    assert record["scores"]["count"] == 10_000
    assert record["scores"]["accuracy"] == record["scores"]["correct"] / 10_000
    assert len(record["history"]) == recipe.epochs
    assert record["history"][-1]["held_out_accuracy"] == record["scores"]["accuracy"]
    assert record["made_with"]["commit"] and record["made_with"]["changed"] is False


def test_the_default_recipe_reaches_its_bar_over_ten_seeds():
    found = study.read(ROOT / "results", recipes.get())
    assert [record["seed"] for record in found][:10] == list(range(10))
    assert statistics.mean(record["scores"]["accuracy"] for record in found) >= 0.976
    train = statistics.mean(record["history"][-1]["train_accuracy"] for record in found)
    assert 0.986 <= train <= 0.989


@pytest.mark.parametrize("name", ["table", "ladder", "ensembles"])
def test_readme_shows_the_tables_of_the_committed_records(name):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(rf"<!-- {name} of `[^`]+`; .* -->\n(.*?)\n<!-- end of {name} -->", text, re.DOTALL)
    assert shown[1] == getattr(study, name)(ROOT / "results")


def test_readmes_first_numbers_are_the_means_of_the_committed_records():
    found = study.read(ROOT / "results", recipes.get())
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    last = [record["history"][-1] for record in found]
    expected = {
        "train loss": f"{statistics.mean(row['train_loss'] for row in last):.4f}",
        "train accuracy": f"{statistics.mean(row['train_accuracy'] for row in last):.2%}",
        "test loss": f"{statistics.mean(record['scores']['loss'] for record in found):.4f}",
        "test accuracy": f"{statistics.mean(record['scores']['accuracy'] for record in found):.2%}",
    }
    for name, value in expected.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert line.split("|")[3].strip() == value


@pytest.mark.parametrize("content", ["{}", "[]", "", '{"seed": 0}'])
def test_a_record_without_its_fields_is_named(content, small, tmp_path):
    path = tmp_path / "mlp_128_adam/optdigits-seed0.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UserError, match=r"optdigits-seed0\.json"):
        study.read(tmp_path, small)
