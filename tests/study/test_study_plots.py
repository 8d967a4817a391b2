"""Figures of a study show every number that they are given, where it belongs."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from digit_recognizer.recipes import RECIPES
from digit_recognizer.study import plots as study_plots
from digit_recognizer.study import tables

ROOT = Path(__file__).parents[2]


def test_accuracy_against_cost_puts_each_recipe_at_its_mean_and_median():
    rows = [
        {"name": "slow", "ours": True, "accuracies": [0.996, 0.998], "seconds": [100.0, 110.0, 300.0]},
        {"name": "quick", "ours": False, "accuracies": [0.97, 0.98], "seconds": [10.0]},
        {"name": "alone", "ours": True, "accuracies": [0.99], "seconds": [2.0]},
    ]
    axes = study_plots.accuracy_against_cost(rows, "title").axes[0]
    points = [line.get_xydata()[0] for line in axes.lines if line.get_marker() in "os" and len(line.get_xdata())]
    assert dict(points) == pytest.approx({110.0: 0.3, 10.0: 2.5, 2.0: 1.0})
    names = {"slow\n99.70 % (n = 2)", "quick\n97.50 % (n = 2)", "alone\n99.00 % (n = 1)"}
    assert {text.get_text() for text in axes.texts} == names
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_the_committed_costs_lie_inside_the_axes_and_no_label_covers_another():
    rows = tables.costs(ROOT / "results")
    figure = study_plots.accuracy_against_cost(rows, "title")
    (left, right), (low, high) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    for row in rows:
        assert all(left < second < right for second in row["seconds"]), row["name"]
        assert all(high < 100 * (1 - accuracy) < low for accuracy in row["accuracies"]), row["name"]
    figure.draw_without_rendering()
    names = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    frame = figure.axes[0].get_window_extent()
    assert len(names) == len(rows) > 9
    assert all(frame.x0 < name.x0 < name.x1 < frame.x1 and frame.y0 < name.y0 for name in names)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(names, 2))


def test_augmentations_are_a_row_each_with_the_digits_as_given():
    digit = torch.rand(28, 28, generator=torch.Generator().manual_seed(0))
    rows = study_plots.augmentation_examples(digit, 7, 4, torch.Generator().manual_seed(0))
    first, *_, last = rows
    assert (first, last, len(rows)) == ("none", "hard edges", 13)
    assert torch.equal(rows["none"][0], digit)
    assert all((images != digit).any() for name, images in rows.items() if name != "none")
    assert 0 < (rows["rotation"] - rows["rotation, bicubic"]).abs().mean() < 0.1  # the same angles
    axes = np.reshape(study_plots.augmentations(rows, "title").axes, (len(rows), 4))
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        assert line[0].get_ylabel() == name
        for place, image in zip(line, images, strict=False):
            np.testing.assert_allclose(place.images[0].get_array(), image.numpy() * 255, rtol=1e-6)
        assert not any(place.axison for place in line[len(images) :])


def test_costs_and_the_table_of_our_recipes_have_the_seconds_that_were_measured(tmp_path, write_record):
    assert tables.our_recipes(tmp_path) == ""
    for name, accuracy in (("mlp_128_adam", 0.97), ("cnn_in_seconds", 0.99), ("cnn_best", 0.997)):
        write_record(tmp_path, RECIPES[name], 0, accuracy)
    runs = {name: [{"seconds": 2.0}, {"seconds": 3.0}] for name in ("mlp_128_adam", "cnn_in_seconds", "mlp_best")}
    (tmp_path / "benchmark.json").write_text(json.dumps({"training_time": {"runs": runs}}))
    assert tables.costs(tmp_path) == [
        {"name": "mlp_128_adam", "ours": False, "accuracies": [0.97], "seconds": [2.0, 3.0]},
        {"name": "cnn_in_seconds", "ours": True, "accuracies": [0.99], "seconds": [2.0, 3.0]},
    ]
    _, _, *rows = tables.our_recipes(tmp_path).splitlines()
    found = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [(row[0], row[1], row[3], row[6]) for row in found] == [
        ("`cnn_in_seconds`", RECIPES["cnn_in_seconds"].network, "99.00%", "2.5"),
        ("`cnn_best`", RECIPES["cnn_best"].network, "99.70%", ""),
    ]


@pytest.mark.usefixtures("mnist")
def test_the_figures_command_draws_the_committed_results(command, tmp_path):
    assert command("figures", "--results", ROOT / "results", "--out", tmp_path) == (
        0,
        f"saved the figures in {tmp_path}\n",
        "",
    )
    names = {"augmentation", "corruptions", "accuracy_against_cost", "accuracy_against_epochs", "published_results"}
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.png" for name in names}


def test_figures_of_a_folder_without_records_are_not_drawn(command, tmp_path):
    nowhere = tmp_path / "nowhere"
    said = f"error: {nowhere} holds no records of a study; --results says where they are\n"
    assert command("figures", "--results", nowhere, "--out", tmp_path / "figures") == (2, "", said)
    assert not (tmp_path / "figures").exists()


def test_each_seed_and_each_published_number_is_marked_on_its_strip():
    fields = ("label", "accuracies", "published", "interval", "conclusion")
    first = ("mnist-recognition", [0.97, 0.98, 0.975], 0.9787, (0.96, 0.99), "yes")
    second = ("tkinter-mnist", [0.96, 0.965], None, (0.95, 0.97), "not stated")
    rows = [dict(zip(fields, row, strict=True)) for row in (first, second)]
    axes = study_plots.published_results(rows, "title").axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata())]
    assert [round(line.get_ydata()[0]) for line in lines] == [0, 0, 1]
    for line, expected in zip(lines, ([97.0, 97.5, 98.0], [97.87], [96.0, 96.5]), strict=True):
        assert sorted(line.get_xdata()) == pytest.approx(expected)
    bands = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches][:2]
    assert bands == [pytest.approx((96.0, 99.0)), pytest.approx((95.0, 97.0))]
    assert [text.get_text() for text in axes.texts] == ["yes", "not stated"]


def test_the_curve_against_epochs_is_the_mean_of_the_seeds():
    axes = study_plots.accuracy_against_epochs([[0.9, 0.92], [0.95, 0.97]], 0.97, "title").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, 91], [2, 96]])
    assert axes.lines[1].get_ydata()[0] == pytest.approx(97)
