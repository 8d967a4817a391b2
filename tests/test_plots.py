"""Figures say what their arrays say, at a size that a README shows."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from digit_recognizer import plots, recipes
from digit_recognizer.runtime import text as runtime_text

RIGHT, WRONG = plots.RIGHT.lower(), plots.WRONG.lower()
IMAGES = torch.randint(0, 256, (70, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(70) % 9  # no nine
WRONG_ONES = (3, 17, 59, 65)
PREDICTED = LABELS.index_put((torch.tensor(WRONG_ONES),), torch.tensor([9, 1, 2, 0]))
CONFUSION = torch.diag(torch.tensor([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 0]))
CONFUSION[4, 9], CONFUSION[9, 4], CONFUSION[2, 7] = 12, 7, 1
LONGEST = max(recipes.RECIPES, key=len)


def history(epochs: int, held_out: str = "test") -> list[dict]:
    return [
        {
            "epoch": epoch, "train_loss": 1 / epoch, "train_accuracy": 1 - 0.5 / epoch, "held_out": held_out,
            "held_out_loss": 2 / epoch, "held_out_accuracy": 1 - 0.6 / epoch, "seconds": 1.0,
        }
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip


def logits_of(*rows: tuple[int, float, int, float]) -> torch.Tensor:
    """Logits of a digit each: (read, confidence, runner-up, its probability); the rest is shared by the others."""
    probabilities = torch.zeros(len(rows), 10, dtype=torch.float64)
    for row, (read, confidence, second, share) in zip(probabilities, rows, strict=True):
        row[:] = (1 - confidence - share) / 8
        row[read], row[second] = confidence, share
    return probabilities.log().float()


LOGITS = logits_of(*[(int(read), 0.9, int(read + 1) % 10, 0.05) for read in PREDICTED])
WEIGHTS = torch.randn(512, 28, 28, generator=torch.Generator().manual_seed(0))
MAKERS = {
    "digits_overview": lambda: plots.digits_overview(IMAGES, LABELS, "optdigits training set"),
    "prediction_grid": lambda: plots.prediction_grid(IMAGES, LABELS, PREDICTED, "optdigits test set"),
    "no_mistakes": lambda: plots.mistakes(IMAGES, PREDICTED, LOGITS, "optdigits test set"),
    "all_mistakes": lambda: plots.mistakes(IMAGES, (PREDICTED + 5) % 10, LOGITS, "optdigits test set"),
    "prediction": lambda: plots.prediction(IMAGES[0], LOGITS[0].softmax(0)),
    "one_epoch": lambda: plots.training_curves(history(1), f"{LONGEST} on optdigits"),
    "many_epochs": lambda: plots.training_curves(history(200, "validation"), f"{LONGEST} on QMNIST"),
    "confusion_matrix": lambda: plots.confusion_matrix(CONFUSION, "optdigits test set"),
    "first_layer": lambda: plots.first_layer(WEIGHTS, LONGEST),
}


def shown(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def tiles(figure: Figure) -> list:
    """The parts of a figure that show a picture."""
    return [axes for axes in figure.axes if axes.images]


@pytest.mark.parametrize("name", MAKERS)
def test_every_figure_is_a_png_as_wide_as_a_readme_with_its_heading_inside(name, tmp_path):
    inputs = (IMAGES, LABELS, PREDICTED, LOGITS, CONFUSION, WEIGHTS)
    before = [value.clone() for value in inputs]
    figure = MAKERS[name]()
    assert figure.canvas.manager is None  # as pyplot's have, which keeps them
    assert all(torch.equal(*pair) for pair in zip(inputs, before, strict=True))
    plots.save(figure, tmp_path / "new" / f"{name}.png")
    with Image.open(tmp_path / "new" / f"{name}.png") as picture:
        assert picture.format == "PNG" and 600 <= picture.width <= 1200 and 100 <= picture.height <= 1000
        assert len(picture.convert("L").getcolors()) > 5  # something is drawn
    assert figure.get_suptitle() or figure.axes[0].get_title()
    for text in [*figure.texts, *(axes.title for axes in figure.axes)]:
        (left, bottom), (right, top) = text.get_window_extent().get_points()
        assert -3 < left <= right < figure.bbox.width + 3, text.get_text()  # pixels, to within a letter's own margin
        assert -3 < bottom <= top < figure.bbox.height + 3, text.get_text()


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("one", "two"):
        plots.save(MAKERS["prediction"](), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_grid_shows_truth_and_reading_on_every_tile_and_mistakes_in_the_second_colour():
    figure = MAKERS["prediction_grid"]()
    assert len(figure.axes) == 60
    for index, axes in enumerate(figure.axes):
        assert axes.get_title() == f"true {LABELS[index]}\nread {PREDICTED[index]}"
        assert (shown(axes) == IMAGES[index].numpy()).all()
        wrong = index in WRONG_ONES
        assert to_hex(axes.title.get_color()) == (WRONG if wrong else RIGHT)
        frame = {to_hex(spine.get_edgecolor()) for spine in axes.spines.values()}
        assert (frame == {WRONG}) is wrong
    assert figure.get_suptitle() == "optdigits test set: the first 60 digits, 57 read right, 3 wrong"
    few = plots.prediction_grid(IMAGES[:7], LABELS[:7], PREDICTED[:7], "few", shape=(2, 5))
    assert (len(few.axes), len(tiles(few))) == (10, 7)
    assert "first 7 digits, 6 read right, 1 wrong" in few.get_suptitle()


def test_mistakes_come_with_the_most_confident_first_and_with_their_runner_up():
    rows = (1, 0.6, 7, 0.3), (2, 0.9995, 3, 0.0004), (3, 0.9, 8, 0.06), (4, 0.99, 0, 0.005), (5, 0.7, 6, 0.1)
    labels = torch.tensor([7, 3, 5, 4, 0])  # the fourth is right
    figure = plots.mistakes(IMAGES[:5], labels, logits_of(*rows), "ours")
    assert [(axes.get_title(), axes.get_xlabel()) for axes in tiles(figure)] == [
        ("true 3, read 2", ">99.9% sure\nthen 3: <0.1%"),
        ("true 5, read 3", "90.0% sure\nthen 8: 6.0%"),
        ("true 0, read 5", "70.0% sure\nthen 6: 10.0%"),
        ("true 7, read 1", "60.0% sure\nthen 7: 30.0%"),
    ]
    expected = IMAGES[torch.tensor([1, 2, 4, 0])].numpy()
    assert all((shown(axes) == image).all() for axes, image in zip(tiles(figure), expected, strict=True))
    assert figure.get_suptitle() == "ours: 4 of 5 digits read wrong, all of them"
    none, many = MAKERS["no_mistakes"](), MAKERS["all_mistakes"]()
    assert (len(tiles(none)), none.get_suptitle()) == (0, "optdigits test set: none of 70 digits read wrong")
    assert len(tiles(many)) == 32 and many.get_suptitle().endswith(
        "70 of 70 digits read wrong, the 32 most confident of them"
    )


def test_the_confusion_matrix_shows_every_count_and_colours_the_errors_alone():
    axes = MAKERS["confusion_matrix"]().axes[0]
    counts = {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}
    expected = {(digit, digit): f"{CONFUSION[digit, digit]:,}" for digit in range(10)}
    assert counts == expected | {(4, 9): "12", (9, 4): "7", (2, 7): "1"}
    assert counts[1, 1] == "1,135"
    assert axes.images[0].get_clim() == (0, 12)
    assert (shown(axes).diagonal() == 0).all() and shown(axes)[4, 9] == 12
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("read as", "true digit")
    assert axes.get_title() == "optdigits test set: 8,991 of 9,011 read right (99.78%)"
    without_errors = plots.confusion_matrix(torch.eye(10, dtype=torch.int64) * 36, "all right").axes[0]
    assert [text.get_text() for text in without_errors.texts] == ["36"] * 10
    assert without_errors.images[0].get_clim() == (0, 1)


def test_a_prediction_shows_the_digit_and_its_ten_probabilities():
    (probabilities,) = logits_of((4, 0.9, 9, 0.0996)).softmax(1)
    digit, bars = plots.prediction(IMAGES[5], probabilities).axes
    assert (shown(digit) == IMAGES[5].numpy()).all()
    assert [bar.get_height() for bar in bars.patches] == probabilities.tolist()
    assert [to_hex(bar.get_facecolor()) == RIGHT for bar in bars.patches] == [k == 4 for k in range(10)]
    assert [text.get_text() for text in bars.texts] == ["", "", "", "", "90.0%", "", "", "", "", "10.0%"]


@pytest.mark.parametrize(("epochs", "held_out"), [(1, "test"), (200, "validation")])
def test_curves_are_the_historys_numbers(epochs, held_out):
    loss, accuracy = plots.training_curves(history(epochs, held_out), "ours").axes
    number = np.arange(1, epochs + 1)
    for axes, expected in ((loss, (1 / number, 2 / number)), (accuracy, (100 - 50 / number, 100 - 60 / number))):
        assert [line.get_label() for line in axes.lines] == ["train (running)", held_out]
        for line, values in zip(axes.lines, expected, strict=True):
            assert np.array_equal(line.get_xdata(), number)
            assert np.allclose(line.get_ydata(), values)
            assert epochs > 1 or line.get_marker() not in (None, "None")  # one point without a mark cannot be seen
        assert all(tick == int(tick) for tick in axes.get_xticks())
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss (nats per digit)", "accuracy (%)")


@pytest.mark.parametrize(("units", "expected"), [(41, 40), (5, 5), (1, 1)])
def test_the_first_layers_units_with_the_largest_weights_are_shown(units, expected):
    figure = plots.first_layer(WEIGHTS[:units], "ours")
    largest = np.argsort(-np.linalg.norm(WEIGHTS[:units].flatten(1).numpy(), axis=1))[:expected]
    assert len(tiles(figure)) == expected
    for axes, unit in zip(tiles(figure), largest, strict=True):
        assert (shown(axes) == WEIGHTS[unit].numpy()).all()
        limit = float(WEIGHTS[unit].abs().max())
        assert axes.images[0].get_clim() == (-limit, limit)
    assert figure.get_suptitle().startswith(f"ours\nwhat {expected} of {units} first-layer units look for")


def test_the_overview_counts_each_digit_and_shows_its_mean_and_its_first_ones():
    axes = np.reshape(MAKERS["digits_overview"]().axes, (6, 10))
    counts = torch.bincount(LABELS, minlength=10).tolist()
    assert [tile.get_title() for tile in axes[0]] == [f"{digit}\n{count}" for digit, count in enumerate(counts)]
    for digit in range(9):
        chosen = IMAGES[LABELS.eq(digit)].numpy()
        assert np.allclose(shown(axes[0, digit]), chosen.mean(0), atol=1e-3)
        assert all((shown(axes[row + 1, digit]) == chosen[row]).all() for row in range(5))
    assert counts[9] == 0 and not any(shown(tile).any() for tile in axes[:, 9])


def test_percentages_never_round_to_a_certainty():
    assert [runtime_text.percent(value) for value in (1, 0.9991, 0.999, 0.5, 0.001, 0.0004, 0)] == [
        ">99.9%", ">99.9%", "99.9%", "50.0%", "0.1%", "<0.1%", "<0.1%",
    ]  # fmt: skip
