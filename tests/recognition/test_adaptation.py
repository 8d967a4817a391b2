"""A network that learns one person's hand: what it learns, what it keeps, and what it refuses to learn."""

import dataclasses

import pytest
import torch

from benchmarks.trials.adapting import drawn
from digit_recognizer import calibrated, checkpoints, data
from digit_recognizer.data import Split
from digit_recognizer.preprocessing.page import PreprocessedDigit
from digit_recognizer.recognition import adaptation, last_layer
from digit_recognizer.recognition.adaptation import Adaptation, Comparison
from digit_recognizer.recognition.recognizer import SHIPPED, Recognizer
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.errors import UserError


@pytest.fixture(scope="module")
def shipped() -> checkpoints.Checkpoint:
    return checkpoints.pretrained(SHIPPED)


@pytest.fixture(scope="module")
def embedded() -> data.Digits:
    """What is always there: optdigits, as where MNIST is not on disk."""
    return data.load("optdigits", validation=True)


@pytest.fixture
def quick(monkeypatch) -> None:
    """Fewer trainings."""
    monkeypatch.setattr(last_layer, "FOLDS", 3)


def read_right(reader, digits: Split) -> int:
    """How many a network reads right and does not refuse."""
    recognizer = Recognizer(reader.model, **calibrated.usable("", reader.record["calibration"]))
    read = recognizer.read(
        [PreprocessedDigit(image.numpy(), None, (0, 0, 28, 28), 0, None, ()) for image in digits.images]
    )
    return sum(each.digit == label for each, label in zip(read, digits.labels.tolist(), strict=True))


@pytest.mark.usefixtures("quick")
def test_five_examples_of_each_teach_a_hand_and_mnist_is_kept(shipped, mnist):
    held_out = data.load_from_disk(validation=True)
    few = dataclasses.replace(held_out, validation=held_out.validation.take(torch.arange(2500)))
    own, unseen = drawn(5, seed=1), drawn(40, seed=2)
    fractions = []
    adapted = adaptation.adapt(shipped, own, few, on_step=fractions.append)
    before, after = read_right(shipped, unseen), read_right(adapted, unseen)
    assert (len(unseen.labels), before < 120) == (160, True) and after >= 0.95 * 160
    own_digits, test, _, refused = adapted.comparisons
    assert adapted.worse == [] and own_digits.before < own_digits.after
    assert test.before - test.after <= 0.001 * len(mnist.test.labels)
    assert (test.total, refused.total) == (10_000, last_layer.OUTLIERS)
    assert adapted.record["scores"]["correct"] == test.after
    assert set(adapted.record["calibration"]) == {"temperature", "rejection_threshold", "rejection_rate"}
    assert fractions[0] == 0 and fractions == sorted(fractions) and 0.5 < fractions[-1] <= 1


@pytest.mark.usefixtures("quick")
def test_without_mnist_it_learns_too_and_keeps_the_calibration(shipped, embedded):
    unseen = drawn(20, seed=2)
    adapted = adaptation.adapt(shipped, drawn(5, seed=1), embedded)
    assert read_right(adapted, unseen) >= 0.9 * len(unseen.labels) > read_right(shipped, unseen)
    assert adapted.record["calibration"] == shipped.record["calibration"]
    assert adapted.recipe == dataclasses.replace(shipped.recipe, name="cnn_handwriting_adapted")


def test_a_network_without_calibration_learns_and_refuses_nothing_still(monkeypatch):
    monkeypatch.setattr(last_layer, "STEPS", 3)
    features, labels = torch.rand(40, 5, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 10
    own = last_layer.OwnFeatures(features, features[None], labels)
    others = last_layer.OthersFeatures(features, (features, features, labels), features, features)
    old = last_layer.Reader(torch.nn.Linear(5, 10), None)
    new = last_layer.learn(old, own, others, 0.0, torch.arange(40))
    assert new.calibration is None and bool(new.accepts(features).all())
    calibrated_old = old._replace(calibration={"temperature": 1.0, "rejection_threshold": 0.5})
    new = last_layer.learn(calibrated_old, own, others, 0.0, torch.arange(40))
    assert "rejection_rate" in new.calibration and new.calibration != calibrated_old.calibration


@pytest.mark.usefixtures("quick")
def test_the_same_digits_teach_the_same_weights_and_leave_the_old_ones(shipped, embedded, monkeypatch):
    monkeypatch.setattr(last_layer, "STEPS", 10)
    own, weights = drawn(3, seed=1), provenance.weights_hash(shipped.model)
    first, second = (adaptation.adapt(shipped, own, embedded).record["weights"] for _ in range(2))
    assert first == second != weights == provenance.weights_hash(shipped.model)


@pytest.mark.usefixtures("quick")
def test_swapped_labels_are_named_and_not_learned(shipped, embedded, optdigits):
    digits = optdigits.test.take(torch.arange(100))
    swapped = torch.arange(0, 100, 5)
    wrong = digits.labels.clone()
    wrong[swapped] = (wrong[swapped] + 1 + swapped // 5 % 9) % 10
    adapted = adaptation.adapt(shipped, Split(digits.images, wrong), embedded)
    named = {each.picture for each in adapted.suspects}
    assert named <= set(swapped.tolist()) and len(named) >= 14
    assert read_right(adapted, digits) >= read_right(shipped, digits) - 1
    mostly_wrong = Split(digits.images, (digits.labels + (torch.arange(100) % 2)) % 10)
    with pytest.raises(UserError, match="of 100 pictures look like another digit than their label says; check"):
        adaptation.adapt(shipped, mostly_wrong, embedded)


@pytest.mark.usefixtures("quick")
def test_it_may_be_stopped_at_any_step(shipped, embedded):
    class Stop(Exception):
        pass

    def stop(fraction: float) -> None:
        if fraction > 0.3:
            raise Stop

    weights = provenance.weights_hash(shipped.model)
    with pytest.raises(Stop):
        adaptation.adapt(shipped, drawn(3, seed=1), embedded, on_step=stop)
    assert provenance.weights_hash(shipped.model) == weights


def test_advice_names_what_is_too_few_and_says_whether_more_would_help():
    def advice(counts, right, right_of_half):
        return Adaptation(None, None, {}, (), (), counts, right, right_of_half).advice()

    zeros = (0,) * 8
    assert advice((5, 7, *zeros), (5, 7, *zeros), 9) == [
        "all of your digits are read right by networks that have not seen them"
    ]
    assert advice((3, 9, *zeros), (2, 9, *zeros), 8) == [
        "too few to judge, draw more: 2 of 0",
        "still misread or refused: 0 (1 of 3)",
        "8 of 12 are right when half of them are learned from, 11 with all: 12 more would help",
    ]
    assert advice((6, 6, *zeros), (6, 5, *zeros), 11)[-1].endswith("11 with all: more of the same would help little")


def test_worse_is_below_the_interval_of_before():
    """Wilson's interval of 980 of 1,000 begins at 96.93 %."""
    before, few, many = (torch.arange(1000) < count for count in (980, 970, 969))
    assert not Comparison.of("", before, few).is_worse and Comparison.of("", before, many).is_worse
    assert not Comparison.of("", many, before).is_worse and not Comparison.of("", before, before).is_worse
    none = torch.zeros(2000, dtype=torch.bool)
    assert not Comparison.of("", none, none).is_worse


def test_every_network_of_ours_has_a_last_layer(shipped):
    pixels = torch.rand(3, 1, 28, 28)
    for checkpoint in (shipped, checkpoints.pretrained("mlp_512_256_adam_5ep")):
        body, head = last_layer.split_last_layer(checkpoint.model)
        with torch.no_grad():
            assert torch.allclose(head(body(pixels)), checkpoint.model(pixels), atol=1e-4)
