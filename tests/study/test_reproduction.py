"""Whether a published number is true: the statistics against textbook values, the verdicts in words."""

import dataclasses
import json
import math
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from digit_recognizer import evaluation, recipes
from digit_recognizer.study import record_store, reproduction, sweep
from digit_recognizer.study.reproduction import Answer

ROOT = Path(__file__).parents[2]
VALUES = [0.97, 0.98, 0.975, 0.965, 0.985]  # mean 0.975, std 0.0079057


def answer(published: float | None, number: str = "test accuracy", dataset: str = "mnist", values=VALUES) -> Answer:
    return Answer(recipes.get(), dataset, number, published, list(values))


def test_the_interval_is_the_textbooks():
    low, high = answer(0.975).interval
    half = 2.776445 * 0.00790569 * math.sqrt(1 + 1 / 5)  # Student's t with 4 degrees of freedom, 97.5 %
    assert (low, high) == (pytest.approx(0.975 - half, abs=1e-6), pytest.approx(0.975 + half, abs=1e-6))


def test_the_interval_holds_the_next_value_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.97, 0.002, (4000, 7))
    inside = sum(
        low <= values[6] <= high
        for values in draws
        for low, high in [answer(0.97, values=values[:6]).interval]
    )  # fmt: skip
    assert 0.94 < inside / 4000 < 0.96


@pytest.mark.parametrize(("published", "expected"), [(0.975, 50.0), (0.975 + 1e6, 100.0), (0.975 - 1e6, 0.0)])
def test_the_percentile_is_that_of_a_further_seed(published, expected):
    assert answer(published).percentile == pytest.approx(expected, abs=1e-6)
    low, _ = answer(published).interval
    assert answer(low).percentile == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("published", "number", "words"),
    [
        (0.975, "test accuracy", "inside the spread of seeds"),
        (0.94, "test accuracy", r"outside: \d\.\d\d points below"),
        (0.9999, "test accuracy", r"outside: \d\.\d\d points above"),
        (0.5, "test loss", r"outside: 0\.4\d\d\d below"),
        (None, "test accuracy", "not stated by the source"),
    ],
)
def test_the_verdict_is_in_plain_words(published, number, words):
    assert re.fullmatch(words, answer(published, number).verdict)


def test_the_distance_is_that_from_the_interval():
    low, _ = answer(0.9).interval
    assert answer(low - 0.0123).verdict == "outside: 1.23 points below"


def test_a_number_of_another_data_set_is_not_compared():
    recipe = recipes.get("mlp_128_64_sgd_15ep")
    other = Answer(recipe, "mnist", "test accuracy", 0.97, VALUES)
    assert not other.comparable and other.verdict == "of QMNIST: not comparable"
    assert Answer(recipe, "qmnist-writers", "test accuracy", 0.975, VALUES).comparable


def test_the_mean_of_batch_means_is_what_a_notebook_adds_up():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(150, 10, generator=generator), torch.randint(10, (150,), generator=generator)
    batches = [F.cross_entropy(logits[at : at + 64], labels[at : at + 64]).item() for at in range(0, 150, 64)]
    assert evaluation.mean_of_batch_means(logits, labels, 64) == pytest.approx(sum(batches) / 3, abs=1e-6)
    assert sum(batches) / 3 != pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-4)


@pytest.fixture
def folder(tmp_path, write_record) -> Path:
    """Records of two seeds of 002."""
    for seed, accuracy in enumerate((0.97, 0.98)):
        write_record(tmp_path, recipes.get(), seed, accuracy)
    return tmp_path


def test_the_answers_are_read_off_the_records(folder):
    found = {each.number: each for each in reproduction.all_answers(folder)}
    assert list(found) == ["train loss", "train accuracy", "test loss", "test accuracy"]
    assert found["test loss"].values == [0.09, 0.09] and found["train accuracy"].values == [0.99, 0.99]
    assert found["test accuracy"].values == [0.97, 0.98] and found["test accuracy"].published == 0.9787
    (strip,) = reproduction.strips(folder)
    assert strip["accuracies"] == [0.97, 0.98] and strip["published"] == 0.9787


def test_the_best_epoch_flatters_by_its_lead_over_the_last(folder):
    assert reproduction.best_minus_last(folder, "mlp_512_256_adam_5ep") == [pytest.approx(0.005)] * 2


def test_without_records_the_page_still_says_what_was_chosen(tmp_path, command):
    lines = reproduction.departures(tmp_path).splitlines()
    assert len(lines) == len(reproduction.departures(ROOT / "results").splitlines())
    assert not any("±" in line for line in lines)
    status, out, err = command("study", "--report", "--out", tmp_path)
    assert (status, err) == (0, "") and lines[0] in out


def test_every_variant_changes_one_thing_of_a_published_recipe():
    compared = {name for _, variants in reproduction.VARIED.values() for name in variants} | {reproduction.CURVE}
    assert compared == {recipe.name for recipe in sweep.STUDIED if recipe.source.startswith("ablation")}
    for base, variants in (*reproduction.VARIED.values(), (reproduction.CURVE_OF, {reproduction.CURVE: ""})):
        for name in variants:
            plain = dataclasses.replace(recipes.get(base), dataset="mnist")
            told = {"name", "source", "published", "unspecified_details"}
            fields = {field.name for field in dataclasses.fields(plain)} - told
            changed = {field for field in fields if getattr(plain, field) != getattr(recipes.get(name), field)}
            assert len(changed - {"std"}) == 1, name


def test_the_real_softmax_cannot_get_below_its_bound():
    found = record_store.read_all(ROOT / "results", recipes.get("mlp_128_64_adam_10ep_softmax"))
    assert len(found) >= 10
    assert all(row["train_loss"] > math.log(1 + 9 / math.e) for record in found for row in record["history"])


def test_the_curve_begins_as_the_shorter_training():
    longer = record_store.read_all(ROOT / "results", recipes.get(reproduction.CURVE))
    shorter = record_store.read_all(ROOT / "results", recipes.get(reproduction.CURVE_OF))
    for one, other in zip(longer, shorter, strict=False):
        assert one["history"][4]["held_out_accuracy"] == other["scores"]["accuracy"]


def test_the_page_numbers_every_departure_once():
    lines = reproduction.departures(ROOT / "results").splitlines()
    assert [line.split(".")[0] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    every = {departure for recipe in recipes.RECIPES.values() for departure in recipe.unspecified_details}
    assert len(lines) == len(every)
    mean = statistics.mean(
        json.loads(path.read_text())["scores"]["accuracy"]
        for path in (ROOT / "results/mlp_512_256_adam_5ep_half").glob("mnist-seed*.json")
    )
    assert f"normalised by 0.5 and 0.5: {mean:.2%}" in "\n".join(lines)
