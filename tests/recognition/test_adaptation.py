"""A network that learns one person's hand: what it learns, what it keeps, and what it refuses to learn."""

import dataclasses

import hand
import numpy as np
import pytest
import torch

from digit_recognizer import checkpoints, data
from digit_recognizer.data import Split
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recognition import adaptation
from digit_recognizer.recognition.adaptation import Comparison
from digit_recognizer.recognition.recognizer import SHIPPED
from digit_recognizer.runtime.errors import UserError


@pytest.fixture(scope="module")
def shipped() -> checkpoints.Checkpoint:
    return checkpoints.pretrained(SHIPPED)


@pytest.fixture(scope="module")
def others() -> data.Digits:
    """What is always there: optdigits, as where MNIST is not on disk."""
    return data.load("optdigits", validation=True)


def written(count: int, seed: int) -> Split:
    """That many zeros and sevens of the hand."""
    drawn = [(label, analyze(image).digit().image) for label, image in hand.pictures(count, seed)]
    return Split(torch.from_numpy(np.stack([image for _, image in drawn])), torch.tensor([label for label, _ in drawn]))


def read_right(model, digits: Split) -> int:
    with torch.no_grad():
        return int((model(data.to_pixels(digits.images)).argmax(1) == digits.labels).sum())


def test_five_examples_of_each_teach_a_hand_and_mnist_is_kept(shipped, mnist):
    others = data.load_from_disk(validation=True)
    own, unseen = written(5, seed=1), written(40, seed=2)
    adapted = adaptation.adapt(shipped, own, others)
    before, after = read_right(shipped.model, unseen), read_right(adapted.model, unseen)
    assert after >= max(before, 0.95 * len(unseen.labels))
    _, test, _, refused = adapted.comparisons
    assert adapted.worse == [] and test.before - test.after <= 0.001 * len(mnist.test.labels)
    assert (test.total, refused.total) == (10_000, adaptation.OUTLIERS)
    assert adapted.record["scores"]["correct"] == test.after
    assert set(adapted.record["calibration"]) == {"temperature", "rejection_threshold", "rejection_rate"}


def test_without_mnist_it_learns_too_keeps_the_calibration_and_repeats(shipped, others):
    own, unseen = written(5, seed=1), written(20, seed=2)
    adapted = adaptation.adapt(shipped, own, others)
    assert read_right(adapted.model, unseen) >= max(0.95 * len(unseen.labels), read_right(shipped.model, unseen))
    assert adapted.record["calibration"] == shipped.record["calibration"]
    assert adapted.recipe == dataclasses.replace(shipped.recipe, name="cnn_handwriting_adapted")
    assert adaptation.adapt(shipped, own, others).record["weights"] == adapted.record["weights"]
    assert shipped.record["weights"] != adapted.record["weights"]


def test_swapped_labels_are_named_and_not_learned(shipped, others, optdigits):
    digits = optdigits.test.take(torch.arange(100))
    swapped = torch.arange(0, 100, 5)
    wrong = digits.labels.clone()
    wrong[swapped] = (wrong[swapped] + 1 + swapped // 5 % 9) % 10
    adapted = adaptation.adapt(shipped, Split(digits.images, wrong), others)
    named = {each.picture for each in adapted.suspects}
    assert named <= set(swapped.tolist()) and len(named) >= 14
    assert read_right(adapted.model, digits) >= read_right(shipped.model, digits) - 1
    mostly_wrong = Split(digits.images, (digits.labels + (torch.arange(100) % 2)) % 10)
    with pytest.raises(UserError, match="of 100 pictures look like another digit than their label says; check"):
        adaptation.adapt(shipped, mostly_wrong, others)


def test_worse_is_what_chance_would_hardly_do():
    before = torch.ones(1000, dtype=torch.bool)
    few, many = before.clone(), before.clone()
    few[:6], many[:7] = False, False
    assert Comparison.of("", before, few).chance == 0.5**6 and not Comparison.of("", before, few).is_worse
    assert Comparison.of("", before, many).is_worse and not Comparison.of("", many, before).is_worse
    assert Comparison.of("", before, before).chance == 1


def test_every_network_of_ours_has_a_last_layer(shipped):
    pixels = torch.rand(3, 1, 28, 28)
    for checkpoint in (shipped, checkpoints.pretrained("mlp_512_256_adam_5ep")):
        body, head = adaptation.split_last_layer(checkpoint.model)
        with torch.no_grad():
            assert torch.allclose(head(body(pixels)), checkpoint.model(pixels), atol=1e-4)
