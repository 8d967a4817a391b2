"""The trial of fixed filters: its maps are those of a convolution with pooling, and its network reads digits."""

import json

import torch
import torch.nn.functional as F

from benchmarks.trials import fixed_filters
from digit_recognizer import data
from digit_recognizer.cli.parser import run_main


def test_maps_are_those_of_a_convolution_with_pooling_of_both_signs(optdigits):
    images = optdigits.train.images[:30]
    filters = fixed_filters.find_filters(data.to_pixels(images), fixed_filters.CHOSEN)
    assert filters.shape == (16, 1, 6, 6)
    outputs = F.conv2d(fixed_filters.NORMALIZE(data.to_pixels(images)), filters, stride=2)
    expected = torch.cat([F.max_pool2d(outputs, 2), F.max_pool2d(-outputs, 2)], dim=1).relu()
    maps = fixed_filters.compute_maps(images, filters, torch.float32)
    assert maps.shape == (30, 32, 6, 6) and torch.allclose(maps, expected, atol=1e-5)


def test_filters_are_components_of_patches_one_more_different_than_the_next(mnist):
    pixels = data.to_pixels(mnist.train.images[:200])
    filters = fixed_filters.find_filters(pixels, fixed_filters.CHOSEN).flatten(1)
    products = F.normalize(filters) @ F.normalize(filters).T
    assert torch.allclose(products, torch.eye(16), atol=1e-4)
    variance = (
        F.conv2d(fixed_filters.NORMALIZE(pixels), F.normalize(filters).view(16, 1, 6, 6)).square().mean((0, 2, 3))
    )
    assert variance[0] > 2 * variance[1] > 2 * variance[8]


def test_all_is_counted_timed_and_saved(mnist, monkeypatch, capsys, tmp_path):
    few = data.Digits(
        "mnist", mnist.train.take(torch.arange(12_000)), None, mnist.test.take(torch.arange(500)), mnist.md5
    )
    monkeypatch.setattr(data, "load", lambda *given: few)
    monkeypatch.setattr(fixed_filters, "VARIANTS", {"chosen": fixed_filters.CHOSEN})
    arguments = ["--parts", "1", "--seeds", "1", "--threads", "1", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["fixed_filters", *arguments])
    run_main(fixed_filters.main)
    found = json.loads((tmp_path / "trials" / "fixed_filters.json").read_text())
    assert found["of"] == 1000 and found["wrong"]["chosen"][0] < 200
    assert found["accuracies"][0] > 0.8 and found["ratios"] == [
        found["seconds"][0] / found["cnn_in_seconds"][0]["seconds"]
    ]
    assert 0 < found["seconds_of_maps"][0] < found["seconds"][0]
    assert "test accuracy" in capsys.readouterr().out
