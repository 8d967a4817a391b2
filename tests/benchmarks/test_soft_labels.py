"""The trial of soft labels: it trains as training.fit does, its views are what they say, and all of it can be tried."""

import dataclasses

import pytest
import torch
from torch import nn

from benchmarks.trials import soft_labels
from digit_recognizer import data, models, training
from digit_recognizer.cli.parser import run_main
from digit_recognizer.data import Digits


@pytest.fixture
def recipe(small_recipe):
    """With batch normalisation: the fast path of plain networks takes no probabilities."""
    return dataclasses.replace(small_recipe, batch_norm=True)


def test_it_trains_as_the_loop_does(optdigits, recipe):
    few = optdigits.train.take(torch.arange(300))
    digits = Digits("optdigits", few, None, optdigits.test, optdigits.md5)
    ours, _ = training.fit(models.build(recipe), digits, recipe, quiet=True)
    soft = models.build(recipe)
    assert soft_labels.fit(soft, few, soft_labels.one_hot(few.labels), recipe, 0) > 0
    for one, other in zip(ours.parameters(), soft.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


class Extent(nn.Module):
    """A network that returns where the bright pixels are: the middle, x and y, and the std of x."""

    def __init__(self) -> None:
        super().__init__()
        self.device = nn.Parameter(torch.zeros(1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        at, shares = torch.arange(28.0), pixels[:, 0] / pixels.sum((1, 2, 3)).view(-1, 1, 1)
        across, down = shares.sum(1), shares.sum(2)
        x, y = across @ at, down @ at
        return torch.stack([x, y, (across @ at**2 - x**2).sqrt()], dim=1)


def test_views_are_moved_turned_and_scaled():
    images = torch.zeros(1, 28, 28, dtype=torch.uint8)
    images[0, 4:12, 10:18] = 255  # above the middle
    found = soft_labels.predict_views(Extent(), images)[:, 0]
    for (x, y, std), (angle, scale, right, down) in zip((found - found[0]).tolist(), soft_labels.VIEWS, strict=True):
        if angle:
            assert x * angle < -4  # counterclockwise, what is above goes to the left
        elif scale != 1:
            assert abs(x) < 0.02 and y * (scale - 1) < 0 < std * (scale - 1)
        else:
            assert (x, y) == pytest.approx((right, down), abs=0.02)


def test_it_is_tried_with_few_digits_and_nothing_is_written(mnist, recipe, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(data, "load", lambda *given: mnist)
    plain = dataclasses.replace(recipe, label_smoothing=0.0)
    monkeypatch.setattr(soft_labels, "VARIANTS", {"hard": (plain, 0), "soft": (plain, 1.0)})
    monkeypatch.setattr(soft_labels, "TEACHER", plain)
    monkeypatch.setattr(
        "sys.argv", ["soft_labels", "--quick", "--seeds", "1", "--device", "cpu", "--out", str(tmp_path)]
    )
    run_main(soft_labels.main)
    *lines, header, hard, soft = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and header.split()[:2] == ["variant", "trainings"] and not list(tmp_path.iterdir())
    assert (
        hard.split()[:2] == ["hard", "3"] and soft.split()[:2] == ["soft", "3"] and hard.split()[2:] != soft.split()[2:]
    )
