"""Published numbers against the spread of seeds: statistics against textbook values, conclusions, ablations."""

import dataclasses
import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from digit_recognizer import evaluation, recipes
from digit_recognizer.study import record_store, reproduction, sweep
from digit_recognizer.study.reproduction import PublishedResult

ROOT = Path(__file__).parents[2]
VALUES = [0.97, 0.98, 0.975, 0.965, 0.985]  # mean 0.975, std 0.0079057


def result(published: float | None, quantity: str = "test accuracy", values=VALUES) -> PublishedResult:
    return PublishedResult(recipes.get(), "mnist", quantity, published, list(values))


def test_the_interval_is_the_textbooks():
    low, high = result(0.975).interval
    half = 2.776445 * 0.00790569 * math.sqrt(1 + 1 / 5)  # Student's t with 4 degrees of freedom, 97.5 %
    assert (low, high) == (pytest.approx(0.975 - half, abs=1e-6), pytest.approx(0.975 + half, abs=1e-6))


def test_the_interval_holds_the_next_value_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.97, 0.002, (2000, 7))
    intervals = [result(0.97, values=values[:6]).interval for values in draws]
    inside = sum(low <= values[6] <= high for values, (low, high) in zip(draws, intervals, strict=True))
    assert 0.94 < inside / len(draws) < 0.96


def test_the_percentile_is_that_of_a_further_seed():
    low, high = result(None).interval
    for published, expected in ((0.975, 50), (0.975 + 1e6, 100), (0.975 - 1e6, 0), (low, 2.5), (high, 97.5)):
        assert result(published).percentile == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("published", "quantity", "conclusion"),
    [
        (0.975, "test accuracy", "inside the spread of seeds"),
        (None, "test accuracy", "not stated by the source"),
        (result(0.9).interval[0] - 0.0123, "test accuracy", "outside: 1.23 points below"),  # from the interval
        (result(0.9).interval[1] + 0.0123, "test accuracy", "outside: 1.23 points above"),
        (result(0.9).interval[0] - 0.4321, "test loss", "outside: 0.4321 below"),
    ],
)
def test_the_conclusion(published, quantity, conclusion):
    assert result(published, quantity).conclusion == conclusion


def test_a_number_of_another_data_set_is_not_compared():
    recipe = recipes.get("mlp_128_64_sgd_15ep")
    other = PublishedResult(recipe, "mnist", "test accuracy", 0.97, VALUES)
    assert not other.comparable and other.conclusion == "of QMNIST: not comparable"
    assert PublishedResult(recipe, "qmnist-writers", "test accuracy", 0.975, VALUES).comparable


def test_the_mean_of_batch_means_is_what_a_notebook_adds_up():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(150, 10, generator=generator), torch.randint(10, (150,), generator=generator)
    batches = [F.cross_entropy(logits[i : i + 64], labels[i : i + 64]).item() for i in (0, 64, 128)]
    assert evaluation.mean_of_batch_means(logits, labels, 64) == pytest.approx(sum(batches) / 3, abs=1e-6)
    assert sum(batches) / 3 != pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-4)


def test_results_come_from_the_records(tmp_path, write_record):
    for seed, accuracy in enumerate((0.97, 0.98)):
        write_record(tmp_path, recipes.get(), seed, accuracy)
    results = {each.quantity: each for each in reproduction.published_results(tmp_path)}
    assert list(results) == ["train loss", "train accuracy", "test loss", "test accuracy"]
    assert results["test loss"].values == [0.09, 0.09] and results["train accuracy"].values == [0.99, 0.99]
    assert results["test accuracy"].values == [0.97, 0.98] and results["test accuracy"].published == 0.9787
    (row,) = reproduction.accuracy_rows(tmp_path)
    assert row["accuracies"] == [0.97, 0.98] and row["published"] == 0.9787
    assert reproduction.best_minus_last(tmp_path, "mlp_512_256_adam_5ep") == [pytest.approx(0.005)] * 2


def test_the_list_numbers_every_detail_once_and_needs_no_records(tmp_path, command):
    lines = reproduction.unspecified_details(ROOT / "results").splitlines()
    plain = reproduction.unspecified_details(tmp_path)
    assert len(plain.splitlines()) == len(lines) and "±" not in plain
    status, _, error = command("study", "--report", "--out", tmp_path)
    assert status == 2 and "holds no records" in error
    assert [line.split(".")[0] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    assert len(lines) == len({detail for recipe in recipes.RECIPES.values() for detail in recipe.unspecified_details})
    mean = statistics.mean(
        json.loads(path.read_text())["scores"]["accuracy"]
        for path in (ROOT / "results/mlp_512_256_adam_5ep_half").glob("mnist-seed*.json")
    )
    assert f"normalised by 0.5 and 0.5: {mean:.2%}" in "\n".join(lines)


def test_every_ablation_changes_one_thing_of_a_published_recipe():
    groups = [*reproduction.ABLATIONS_OF.values(), (reproduction.FEW_EPOCHS, {reproduction.MANY_EPOCHS: ""})]
    pairs = [(base, name) for base, ablations in groups for name in ablations]
    assert {name for _, name in pairs} == {one.name for one in sweep.STUDIED if one.source.startswith("ablation")}
    for base, name in pairs:
        plain, ablation = dataclasses.replace(recipes.get(base), dataset="mnist").settings, recipes.get(name).settings
        changed = {field for field in plain if plain[field] != ablation[field]}
        assert len(changed - {"std"}) == 1, name


def test_the_real_softmax_cannot_get_below_its_bound():
    found = record_store.read_all(ROOT / "results", recipes.get("mlp_128_64_adam_10ep_softmax"))
    assert len(found) >= 10
    assert all(row["train_loss"] > math.log(1 + 9 / math.e) for record in found for row in record["history"])


def test_the_longer_training_begins_as_the_shorter():
    longer = record_store.read_all(ROOT / "results", recipes.get(reproduction.MANY_EPOCHS))
    shorter = record_store.read_all(ROOT / "results", recipes.get(reproduction.FEW_EPOCHS))
    for one, other in zip(longer, shorter, strict=False):
        assert one["history"][4]["held_out_accuracy"] == other["scores"]["accuracy"]
