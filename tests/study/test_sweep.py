"""The study: one record a seed, none made twice; the committed records are what docs/ says they are."""

import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import harness
from digit_recognizer import checkpoints, evaluation, models, recipes, training
from digit_recognizer.data import sources
from digit_recognizer.recipes import page_reader
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.runtime import files, provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import record_store, reproduction, sweep, tables

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def small() -> recipes.Recipe:
    """A recipe on the embedded set, so that it needs no download."""
    return dataclasses.replace(recipes.get("mlp_128_adam"), dataset="optdigits", epochs=1)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """By default; a test may ask for more workers."""
    monkeypatch.setattr(sweep.executors.joblib, "cpu_count", lambda: 1)


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory) -> Path:
    """A study of two seeds."""
    out = tmp_path_factory.mktemp("results")
    sweep.run([small], 2, out, workers=1)
    return out


def test_there_is_one_record_a_seed_with_what_a_run_alone_gives(folder, small, optdigits):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    assert names == ["mlp_128_adam/optdigits-seed0.json", "mlp_128_adam/optdigits-seed1.json"]
    choose_device("cpu")  # as the study does, whose products it decides on
    for seed, record in enumerate(record_store.read_all(folder, small)):
        model, history = training.fit(models.build(small, seed), optdigits, small, seed, quiet=True)
        assert (record["seed"], record["weights"]) == (seed, provenance.weights_hash(model))
        assert record["history"][0]["train_loss"] == history[0]["train_loss"]
        assert record["overrides"] == {"epochs": 1, "dataset": "optdigits"} and record["made_with"]["threads"] == 1


def test_finished_runs_are_skipped_and_missing_ones_made(folder, small, capsys):
    path = folder / "mlp_128_adam/optdigits-seed0.json"
    before = path.stat().st_mtime_ns
    sweep.run([small], 2, folder)
    assert capsys.readouterr().out == ""
    sweep.run([small], 3, folder)
    assert capsys.readouterr().out.count("\n") == 1
    assert path.stat().st_mtime_ns == before
    (folder / "mlp_128_adam/optdigits-seed2.json").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: "", "is damaged"),
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: "{}", "is of another run: other format"),
        (lambda text: text.replace('"format": 3', '"format": 1'), "is of another run: other format"),
        (lambda text: text.replace('"mlp_128_adam"', '"cnn_best"'), "is of another run: other recipe"),
        (lambda text: text.replace('"batch_size": 64', '"batch_size": 65'), "is of another run: other settings"),
        (lambda text: text.replace('"mean_of_batch_means"', '"mean"'), "is damaged"),
        (lambda text: text.replace('"count": ', '"count": 0, "was": '), "is damaged"),
        (lambda text: text.replace('"epoch": 1', '"epoch": 2'), "is damaged"),
        (lambda text: re.sub('"correct": [0-9]+', '"correct": 1', text), "is damaged"),
    ],
)
def test_a_damaged_record_is_named_set_aside_and_made_again(damage, words, folder, small, tmp_path, capsys):
    good = folder / "mlp_128_adam/optdigits-seed0.json"
    path = tmp_path / "mlp_128_adam/optdigits-seed0.json"
    path.parent.mkdir()
    damaged = damage(good.read_text())
    for again in ("", "1"):  # what was set aside is never written over
        path.write_text(damaged)
        with pytest.raises(UserError, match="optdigits-seed0"):
            record_store.read_all(tmp_path, small)
        sweep.run([small], 1, tmp_path)
        out = capsys.readouterr().out
        assert words in out and f"set aside as optdigits-seed0.json.aside{again}, and run again" in out
        assert path.with_name(f"optdigits-seed0.json.aside{again}").read_text() == damaged
        assert json.loads(path.read_text())["weights"] == json.loads(good.read_text())["weights"]
    assert [record["seed"] for record in record_store.read_all(tmp_path, small)] == [0]


def stopped_after(epochs: int, monkeypatch, recipe: recipes.Recipe, out: Path) -> Path:
    """The progress file that a study leaves which ends after so many epochs of its first run."""
    plain = checkpoints.save_progress

    def save(path, *rest):
        plain(path, *rest)
        if len(rest[-1]["history"]) == epochs:
            raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(checkpoints, "save_progress", save)
        sweep.run([recipe], 1, out, workers=1)
    return out / "mlp_128_adam/optdigits-seed0.stopped.pth"


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_stopped_run_resumes_where_it_was(done, small, tmp_path, monkeypatch):
    recipe = dataclasses.replace(small, epochs=3)
    path = stopped_after(done, monkeypatch, recipe, tmp_path / "stopped")
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    trained, plain = [], training.train_one_epoch

    def train_one_epoch(state, *rest, **options):
        trained.append(len(state.history) + 1)
        return plain(state, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(training, "train_one_epoch", train_one_epoch)
        sweep.run([recipe], 1, tmp_path / "stopped", workers=1)
    assert trained == [1, 2, 3][done:]
    sweep.run([recipe], 1, tmp_path / "whole")
    (resumed,), (whole,) = (record_store.read_all(tmp_path / name, recipe) for name in ("stopped", "whole"))
    assert resumed["weights"] == whole["weights"] and not path.exists()
    losses = [[row["train_loss"] for row in record["history"]] for record in (resumed, whole)]
    assert losses[0] == losses[1] and len(losses[0]) == 3


@pytest.mark.parametrize("reason", ["cut", "another commit", "more epochs"])
def test_a_run_that_cannot_resume_says_so_and_starts_again(reason, small, tmp_path, monkeypatch, capsys):
    path = stopped_after(1, monkeypatch, dataclasses.replace(small, epochs=2), tmp_path)
    recipe = dataclasses.replace(small, epochs=1 if reason == "more epochs" else 2)
    if reason == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    if reason == "another commit":
        monkeypatch.setattr(provenance, "_commit", lambda: {"commit": "another", "changed": False})
    sweep.run([recipe], 1, tmp_path, workers=1)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(str(path)) and first.endswith("; the run starts again") and "test accuracy" in second
    (record,) = record_store.read_all(tmp_path, recipe)
    assert len(record["history"]) == recipe.epochs and not path.exists()


def test_a_cluster_keeps_no_progress_files_here(small, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(sweep, "_execute", lambda jobs, *rest: given.extend(jobs) or [])
    monkeypatch.setattr(sweep.executors, "validate", lambda *_: None)
    sweep.run([small], 1, tmp_path, backend="dask", scheduler="somewhere")
    sweep.run([small], 1, tmp_path)
    assert [job[3] for job in given] == [None, tmp_path / "mlp_128_adam/optdigits-seed0.stopped.pth"]


def test_a_second_study_in_the_same_folder_is_refused(small, tmp_path):
    with sweep._lock(tmp_path), pytest.raises(UserError, match="another study is writing to"):
        sweep.run([small], 1, tmp_path)
    sweep.run([small], 1, tmp_path)  # and not any more
    assert len(record_store.read_all(tmp_path, small)) == 1


@pytest.mark.skipif(os.name != "posix", reason="kills processes by a signal")
def test_a_killed_study_leaves_whole_records_and_goes_on(small, folder, tmp_path, no_network):
    code = (
        "import sys; from digit_recognizer import recipes; from digit_recognizer.study import sweep; "
        "small = recipes.get('mlp_128_adam', dataset='optdigits', epochs=1); "
        "sweep.run([small], 2000, sys.argv[1], workers=1)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            process.stdout.readline()
        process.kill()
    before = record_store.read_all(tmp_path, small)  # fails if one is damaged
    assert 3 <= len(before) < 2000
    sweep.run([small], len(before) + 1, tmp_path)
    after = record_store.read_all(tmp_path, small)
    assert after[: len(before)] == before and len(after) == len(before) + 1
    alone = record_store.read_all(folder, small)
    assert [record["weights"] for record in after[:2]] == [record["weights"] for record in alone]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--report", "--seeds", "3"], "--report takes no --seeds"),
        (["--report", "--backend", "dask"], "--report takes no --backend"),
        (["--report", "--out", "nowhere"], "there is no folder nowhere with records"),
        (["--quick", "--seeds", "3"], "--quick takes no --seeds"),
        (["--quick", "--out", "mine"], "--quick takes no --out"),
    ],
)
def test_a_flag_that_would_be_ignored_is_refused(flags, words, command):
    status, _, error = command("study", *flags)
    assert (status, error.count("\n")) == (2, 1) and words in error


def test_quick_tries_every_recipe_and_keeps_nothing(small, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(sweep.tempfile, "tempdir", None)
    sweep.quick([small, recipes.get("mlp_128_64_adam_10ep", dataset="optdigits")], None)
    assert capsys.readouterr().out.count("\n") == 4
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_several_processes_give_the_same_weights_and_an_ensemble_of_the_first_seeds(folder, small, optdigits, tmp_path):
    sweep.run([small], 3, tmp_path, workers=2)
    alone, together = record_store.read_all(folder, small), record_store.read_all(tmp_path, small)
    assert [record["weights"] for record in together[:2]] == [record["weights"] for record in alone]
    path = tmp_path / "mlp_128_adam/optdigits-ensemble.json"
    before = path.read_text()
    found = json.loads(before)
    assert list(found["scores"]) == ["1", "3"] and found["weights"] == [record["weights"] for record in together]
    assert found["scores"]["1"]["correct"] == together[0]["scores"]["correct"]
    networks = [training.fit(models.build(small, seed), optdigits, small, seed, quiet=True)[0] for seed in range(3)]
    mean = sum(evaluation.predict(model, optdigits.test.images).softmax(1) for model in networks)
    assert found["scores"]["3"]["correct"] == int((mean.argmax(1) == optdigits.test.labels).sum())
    path.unlink()  # as after an interrupted study
    sweep.run([small], 3, tmp_path)
    assert path.read_text() == before
    for seed in (0, 1):  # never of fewer
        record_store.record_path(tmp_path, small, seed).with_suffix(".npy").unlink()  # as in a fresh checkout
    sweep.run([small], 5, tmp_path)
    assert path.read_text() == before
    path.with_name("mnist-ensemble.json").write_text("")
    with pytest.raises(UserError, match="does not hold scores of ensembles"):
        tables.ensembles(tmp_path)


def test_certain_members_have_a_finite_loss():
    certain = torch.zeros(2, 10)
    certain[:, 0] = 1
    found = sweep.score_ensembles(recipes.get(), ["a", "b", "c"], [certain.numpy()] * 3, torch.tensor([0, 1]))
    assert found["scores"]["3"]["accuracy"] == 0.5 and 40 < found["scores"]["3"]["loss"] < 50


def test_the_recipe_for_qmnist_runs_on_what_is_on_disk(tmp_path):
    recipe = recipes.get("mlp_128_64_sgd_15ep")
    names = lambda: [one.dataset for one in sweep.resolve_datasets([recipe, recipes.get()], tmp_path)]  # noqa: E731
    assert names() == ["mnist", "mnist"]
    (tmp_path / "QMNIST/raw").mkdir(parents=True)
    for file in sources.QMNIST_FILES:
        files.write_atomically(tmp_path / "QMNIST/raw" / file, b"")
    assert names() == ["qmnist", "qmnist-writers", "mnist"]


def test_committed_records_are_of_the_recipes_on_the_whole_of_mnist():
    found = {recipe: record_store.read_all(ROOT / "results", recipe, "mnist") for recipe in recipes.RECIPES.values()}
    committed = [path for path in (ROOT / "results").glob("*/mnist-seed*.json") if path.parent.name != page_reader.NAME]
    assert sum(map(len, found.values())) == len(committed) > 200
    for recipe, record in ((recipe, record) for recipe, of_recipe in found.items() for record in of_recipe):
        what = recipe.name, record["seed"]
        changed = {} if recipe.dataset == "mnist" else {"dataset": "mnist"}
        assert [record[field] for field in ("overrides", "dataset", "md5")] == [changed, "mnist", sources.MNIST_MD5]
        last, scores = record["history"][-1], record["scores"]
        assert last["held_out"] == ("validation" if recipe.validation else "test"), what
        assert scores["count"] == 10_000 and (recipe.validation or last["held_out_accuracy"] == scores["accuracy"]), (
            what
        )
        # The machine of a lent graphics card has a copy of the working tree; docs/recipes.md names its commit.
        changed = record["made_with"]["changed"] and recipe.name != "cnn_best_wide"
        assert record["made_with"]["commit"] and not changed, what


def test_enough_seeds_are_committed_and_the_default_recipe_reaches_its_bar():
    for recipe in PUBLISHED:
        found = record_store.read_all(ROOT / "results", recipe, "mnist")
        assert [record["seed"] for record in found] == list(range(sweep.SEEDS.get(recipe.name, 10))), recipe.name
        if recipe == recipes.get():
            assert statistics.mean(record["scores"]["accuracy"] for record in found) >= 0.976
            assert 0.986 <= statistics.mean(record["history"][-1]["train_accuracy"] for record in found) <= 0.989


@pytest.mark.parametrize(
    ("page", "name", "make"),
    [
        ("reproduction", "published results", tables.published),
        ("reproduction", "unspecified details", reproduction.unspecified_details),
        ("recipes", "our recipes", tables.our_recipes),
        ("recipes", "ensembles", tables.ensembles),
        ("recipes", "public hands and damage", tables.public_hands),
    ],
)
def test_docs_show_what_the_committed_records_say(page, name, make):
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    shown = re.search(rf"<!-- {name}: `digits study --report`; .* -->\n(.*?)\n<!-- end of {name} -->", text, re.DOTALL)
    assert shown[1] == make(ROOT / "results")


def test_docs_say_what_the_whole_study_costs():
    found = [one for recipe in sweep.STUDIED for one in record_store.read_all(ROOT / "results", recipe, "mnist")]
    minutes = sum(record["seconds"] for record in found) / 60
    epochs = sum(len(record["history"]) for record in found)
    dataloader = harness.load_results(ROOT / "results")["median"]["dataloader"]
    text = " ".join((ROOT / "docs/reproduction.md").read_text(encoding="utf-8").split())
    assert f"{len(found)} trainings, {epochs:,} epochs" in text and f"{minutes:.0f} minutes of one core" in text
    assert f"{epochs * dataloader / 3600:.1f} hours" in text and f"{dataloader:.1f} seconds" in text


def test_the_docs_name_every_project_and_its_recipes():
    text = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    for recipe in PUBLISHED:
        (line,) = [line for line in text.splitlines() if re.match(rf"\| {recipe.project} \| 00\d \|", line)]
        assert f"`{recipe.name}`" in line


def test_readmes_first_numbers_are_the_means_of_the_committed_records():
    found = record_store.read_all(ROOT / "results", recipes.get())
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [record["history"][-1] | record["scores"] for record in found]
    fields = {"train_loss": ".4f", "train_accuracy": ".2%", "mean_of_batch_means": ".4f", "accuracy": ".2%"}
    means = [format(statistics.mean(row[field] for row in rows), form) for field, form in fields.items()]
    assert f"{len(found)} seeds" in text
    for name, mean in zip(("train loss", "train accuracy", "test loss", "test accuracy"), means, strict=True):
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert line.split("|")[3].strip() == mean
