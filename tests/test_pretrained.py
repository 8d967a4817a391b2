"""The networks that come with the package are those of the committed records, and need no data."""

import json
import statistics
from pathlib import Path

import pytest
import yaml

from digit_recognizer import checkpoints, evaluation, models, recipes
from digit_recognizer.data import sources
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import record_store

ROOT = Path(__file__).parent.parent
CARD = (checkpoints.PRETRAINED / "README.md").read_text(encoding="utf-8")
NAMES = ["cnn_best", "cnn_handwriting", "mlp_512_256_adam_5ep"]


def committed(name: str) -> dict:
    """The record of seed 0."""
    return json.loads((ROOT / "results" / name / "mnist-seed0.json").read_text())


def test_they_are_these_and_another_name_is_refused():
    assert sorted(path.stem for path in checkpoints.PRETRAINED.glob("*.pth")) == NAMES
    assert sorted(path.stem for path in checkpoints.PRETRAINED.glob("*.onnx")) == ["cnn_handwriting", "page_reader"]
    with pytest.raises(UserError, match=f"no pretrained network 'cnn_worst'; there are {', '.join(NAMES)}"):
        checkpoints.pretrained("cnn_worst")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_seed_0_of_its_recipe_as_recorded_and_small_and_the_card_says_how_good(name):
    assert (checkpoints.PRETRAINED / f"{name}.pth").stat().st_size < 4_000_000
    loaded, record = checkpoints.pretrained(name), committed(name)
    assert loaded.recipe == recipes.get(name)
    assert provenance.weights_hash(loaded.model) == record["weights"] == loaded.record["weights"]
    assert models.parameter_count(loaded.model) == loaded.recipe.parameter_count
    assert loaded.record["md5"] == sources.MNIST_MD5
    low, high = record["scores"]["interval"]
    assert f"`{name}`" in CARD and f"{record['scores']['accuracy']:.2%} ({low:.2%} to {high:.2%})" in CARD


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_the_test_digits_as_recorded(name, mnist):
    logits = evaluation.predict(checkpoints.pretrained(name).model, mnist.test.images)
    # Another processor rounds differently, which may tip a digit that stands on the edge.
    assert abs(evaluation.score(logits, mnist.test.labels).correct - committed(name)["scores"]["correct"]) <= 2


@pytest.mark.parametrize("name", [*NAMES, "page_reader"])
def test_each_has_a_card_with_the_header_of_the_hub_and_the_numbers_of_its_record(name):
    header, text = (checkpoints.PRETRAINED / f"{name}.md").read_text(encoding="utf-8").split("---\n")[1:]
    about, record = yaml.safe_load(header), committed(name)
    assert about["license"] == "mit" and about["datasets"] == ["ylecun/mnist"] and about["pipeline_tag"]
    (index,) = about["model-index"]
    assert index["name"] == name and text.strip().startswith(f"# {name}\n")
    (result,) = index["results"]
    said = {metric["name"]: metric["value"] for metric in result["metrics"]}
    if name == "page_reader":
        pages, empty = record["synthetic_pages"], record["empty_pages"]
        counts = [
            (pages["found"], pages["digits"]), (pages["correct"], pages["digits"]),
            (empty["given_a_digit"], empty["pages"]),
        ]  # fmt: skip
        for (what, value), (count, total) in zip(said.items(), counts, strict=True):
            low, high = evaluation.wilson_interval(count, total)
            assert value == round(count / total, 4)
            assert what.endswith(f", n = {total:,}, 95 % interval {low:.2%} to {high:.2%}")
    else:
        low, high = record["scores"]["interval"]
        assert said == {
            f"test accuracy, n = 10,000, 95 % interval {low:.2%} to {high:.2%}": record["scores"]["accuracy"]
        }
        assert f"{record['scores']['accuracy']:.2%} ({low:.2%} to {high:.2%})" in text
    assert all(f"**{part}" in text for part in ("Good for", "Not good for", "Licence"))
    assert f"results/{name}/mnist-seed0.json" in text


def test_card_and_docs_say_how_good_its_seeds_are():
    found = record_store.read_all(ROOT / "results", recipes.get("cnn_handwriting"))
    accuracies = [record["scores"]["accuracy"] for record in found]
    said = f"{statistics.mean(accuracies):.2%} ± {statistics.stdev(accuracies):.2%} (n = {len(found)})"
    assert said in CARD and said in (checkpoints.PRETRAINED / "cnn_handwriting.md").read_text(encoding="utf-8")
    assert said in (ROOT / "docs/own_digits.md").read_text(encoding="utf-8")
