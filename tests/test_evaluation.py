"""Scores against worked examples, SciPy, scikit-learn and PyTorch's own loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from sklearn import metrics
from torch import nn

from digit_recognizer import data, evaluation, models


class FirstPixels(nn.Module):
    """Stands in for a network: the first ten pixels are the logits, exactly; notes what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.batches, self.modes = [], []

    def forward(self, pixels):
        self.batches.append(len(pixels))
        self.modes.append(self.training)
        return pixels.flatten(1)[:, :10]


def logits_and_labels(count: int = 500, never_read: int = 3, never_there: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Random answers, about half right: one digit is never read, one never occurs."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 9, (count,), generator=generator)
    labels[labels == never_there] = 9
    logits = torch.randn(count, 10, generator=generator) + 2.0 * F.one_hot(labels, 10)
    logits[:, never_read] = -9.0
    return logits, labels


def random_images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("correct", "count"), [(0, 20), (20, 20), (1, 1), (0, 1), (346, 360), (9787, 10_000)])
def test_wilsons_interval_is_scipys(correct, count):
    expected = binomtest(correct, count).proportion_ci(confidence_level=0.95, method="wilson")
    low, high = evaluation.wilson_interval(correct, count)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-7) and 0 <= low < high <= 1
    assert correct != 9787 or (f"{low:.2%}", f"{high:.2%}") == ("97.57%", "98.14%")  # as published


def test_confusion_precision_recall_and_f1_of_each_digit_are_scikit_learns():
    logits, labels = logits_and_labels()
    confusion = evaluation.confusion_matrix(logits, labels)
    assert (confusion.numpy() == metrics.confusion_matrix(labels, logits.argmax(1), labels=range(10))).all()
    assert confusion.sum() == 500 and confusion[:, 3].sum() == confusion[8].sum() == 0  # never read, never there
    expected = metrics.precision_recall_fscore_support(labels, logits.argmax(1), labels=range(10), zero_division=0)
    rows = evaluation.per_digit(confusion)
    ours = [[row[name] for row in rows] for name in ("precision", "recall", "f1", "count")]
    assert np.allclose(ours, expected, rtol=1e-12, atol=0)
    assert [row["digit"] for row in rows] == list(range(10))
    assert rows[3]["precision"] == rows[3]["f1"] == 0 < rows[3]["count"]
    assert rows[8]["recall"] == rows[8]["count"] == 0


def test_the_table_has_a_line_for_each_digit():
    confusion = torch.diag(torch.arange(1, 11))
    confusion[0, 1] = 3
    lines = evaluation.per_digit_table(confusion).splitlines()
    assert len(lines) == 11
    assert lines[1].split() == ["0", "100.00%", "25.00%", "40.00%", "4"]
    assert lines[2].split() == ["1", "40.00%", "100.00%", "57.14%", "2"]


def test_accuracy_and_loss_are_scikit_learns_and_pytorchs():
    logits, labels = logits_and_labels()
    scores = evaluation.score(logits, labels)
    assert (scores.correct, scores.count) == (int((logits.argmax(1) == labels).sum()), 500)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(labels, logits.argmax(1)), rel=1e-12)
    assert scores.loss == pytest.approx(float(F.cross_entropy(logits.double(), labels, reduction="sum")), rel=1e-6)
    assert scores.mean_loss == pytest.approx(scores.loss / 500)
    assert scores.interval == evaluation.wilson_interval(scores.correct, 500)


@pytest.mark.parametrize(("rows", "count"), [(4, 5), (5, 4), (0, 0), (0, 1), (1, 0)])
def test_score_refuses_unequal_lengths_and_nothing(rows, count):
    with pytest.raises(ValueError, match=f"{rows} rows of logits for {count} labels"):
        evaluation.score(torch.zeros(rows, 10), torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("batch_size", "batches"), [(7, [7, 7, 7, 2]), (23, [23]), (1000, [23])])
def test_predict_takes_every_image_once_in_order_and_leaves_the_models_mode(batch_size, batches, training):
    images, model = random_images(23), FirstPixels().train(training)
    logits = evaluation.predict(model, images, batch_size)
    assert torch.equal(logits, images.flatten(1)[:, :10] / 255)
    assert model.batches == batches and model.modes == [False] * len(batches) and model.training is training


def test_predict_is_a_plain_forward_pass(trained, optdigits):
    model, images = trained[0], optdigits.test.images
    with torch.no_grad():
        plain = model(data.to_pixels(images))
    assert torch.equal(evaluation.predict(model, images), plain)
    assert torch.allclose(evaluation.predict(model, images, batch_size=7), plain, atol=1e-5)


def test_predict_draws_no_random_numbers():
    model = nn.Sequential(models.MLP([784, 10]), nn.Dropout(0.5)).train()
    before = torch.get_rng_state()
    assert torch.equal(evaluation.predict(model, random_images(9)), evaluation.predict(model, random_images(9)))
    assert torch.equal(torch.get_rng_state(), before)
    model(data.to_pixels(random_images(9)))
    assert not torch.equal(torch.get_rng_state(), before)  # in training mode this network does draw
