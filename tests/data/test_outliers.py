"""Strokes, styles and outliers: their geometry, their labels, and what training makes of them."""

import pytest
import torch

from digit_recognizer import data, models, recipes, training
from digit_recognizer.data import augmentation, outliers, strokes
from digit_recognizer.recipes.recipe import Augmentation


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def batch(optdigits):
    """(pixels, labels) of 200 digits."""
    return data.to_pixels(optdigits.train.images[:200]), optdigits.train.labels[:200]


def test_a_stroke_lies_where_it_was_drawn():
    start, end, radius = torch.tensor([[4.0, 10.0]]), torch.tensor([[20.0, 10.0]]), torch.tensor([1.0])
    drawn = strokes.draw_strokes(torch.zeros(1, 1, 28, 28), start, end, radius)[0, 0]
    assert torch.all(drawn[9:12, 4:21] >= 0.5) and drawn[10, 4:21].min() == 1
    assert drawn[:8].sum() == drawn[13:].sum() == 0
    assert drawn.sum() == pytest.approx(16 * 2 + 3.14, rel=0.15)  # a bar and two half discs


def test_only_some_digits_get_a_style_as_often_as_the_probability_says(batch):
    pixels, labels = batch
    styled = strokes.add_styles(pixels, labels, 1.0, seeded())
    changed = (styled != pixels).any(dim=(1, 2, 3))
    for digit, share in ((0, 0.4), (1, 1), (6, 0.5), (7, 1), (9, 1)):
        assert abs(changed[labels == digit].float().mean() - share) < 0.35, digit
    others = ~torch.isin(labels, torch.tensor([0, 1, 6, 7, 9]))
    assert not changed[others].any() and styled.min() >= 0 and styled.max() <= 1
    ones = labels == 1
    assert torch.all(styled[ones] >= pixels[ones]) and (styled - pixels)[ones].sum((1, 2, 3)).median() > 5
    strengths = Augmentation(styles=0.5)
    assert augmentation.augment(pixels, strengths, seeded()) is pixels  # without labels there are none
    some = (augmentation.augment(pixels, strengths, seeded(), labels) != pixels).any(dim=(1, 2, 3)).sum()
    assert 0 < some < changed.sum()


def test_zeros_get_a_slash_through_the_middle_and_nines_a_hook_or_a_bowl_at_the_bottom():
    zeros = strokes.add_styles(torch.zeros(50, 1, 28, 28), torch.zeros(50, dtype=torch.long), 1.0, seeded())
    slashed = zeros[zeros.any(dim=(1, 2, 3))]
    assert 10 <= len(slashed) <= 30 and slashed[:, :, 12:16, 12:16].amax((1, 2, 3)).min() > 0.9
    assert slashed[:, :, :14, 14:].sum() > 10 * slashed[:, :, :14, :13].sum()  # from the lower left to the upper right
    stem = torch.zeros(1, 1, 28, 28)
    stem[:, :, 4:24, 14:16] = 1
    hooked = strokes._hook(stem.expand(50, -1, -1, -1), seeded()) - stem
    assert hooked[:, :, 16:, :14].sum() > 0.8 * hooked.sum() > 0
    bowls = strokes._bowl(stem.expand(50, -1, -1, -1), seeded())
    assert torch.equal(bowls[:, :, 4:11], stem[:, :, 4:11].expand(50, -1, -1, -1))
    right, left = bowls[:, 0, 11:, 16:].sum((1, 2)), bowls[:, 0, 18:25, :14].sum((1, 2))
    # An arc to the right, and mostly back to the left below.
    assert (right > 3).float().mean() > 0.8 and (left > 0).float().mean() > 0.6
    assert torch.all(bowls[:, :, 26:] == 0)
    styled = strokes.add_styles(stem.expand(50, -1, -1, -1), torch.full((50,), 9), 1.0, seeded())
    assert (styled[:, :, 4:20] == stem[:, :, 4:20]).all(-1).all(-1).float().mean() == pytest.approx(0.5, abs=0.2)


def test_a_bar_across_a_zero_is_flatter_than_a_slash():
    bars = strokes.draw_bars(torch.zeros(50, 1, 28, 28), seeded())
    assert bars[:, :, 8:20].sum() == bars.sum() > 0 and bars[:, :, 10:18, 12:16].amax((1, 2, 3)).min() > 0.9
    rows, columns = (bars.amax(3) > 0.5).sum(2), (bars.amax(2) > 0.5).sum(2)
    assert torch.all(columns[:, 0] > rows[:, 0])
    ring = strokes.draw_bars(torch.ones(50, 1, 28, 28), seeded())
    assert 10 < (ring[:, 0, 0] == 0).any(1).sum() < 40  # some became narrow


def test_a_roof_on_a_six_points_to_the_right():
    stem = torch.zeros(1, 1, 28, 28)
    stem[:, :, 8:24, 8:10] = 1
    roofs = strokes._roof(stem.expand(50, -1, -1, -1), seeded()) - stem
    assert roofs[:, :, 5:14, 9:].sum() > 0.8 * roofs.sum() and roofs.sum((1, 2, 3)).min() > 2


def test_greek_letters_are_drawn_as_curves_through_their_points():
    paths = outliers.smooth_paths()
    assert paths.shape == (len(outliers.GREEK), outliers.PATH_POINTS, 2) and -0.2 < paths.min() < paths.max() < 1.2
    for path, points in zip(paths, outliers.GREEK, strict=True):
        assert torch.cdist(torch.tensor(points), path).min(1).values.max() < 0.12
    drawn = strokes.draw_path(4 + 20 * paths, torch.full((len(paths),), 1.0))
    assert drawn.shape == (len(paths), 1, 28, 28) and drawn.sum((1, 2, 3)).min() > 50
    letters = outliers._drawn(drawn, torch.zeros(0), 40, seeded())
    assert letters.shape == (40, 1, 28, 28) and letters.amax((1, 2, 3)).min() > 0.5
    assert torch.equal(letters, outliers._drawn(drawn, torch.zeros(0), 40, seeded()))


def test_blobs_are_filled_and_in_the_middle():
    blobs = strokes.draw_blobs(50, seeded())
    assert blobs.shape == (50, 1, 28, 28) and blobs[:, :, 11:17, 11:17].min() == 1
    assert blobs.sum((1, 2, 3)).min() > 60 and blobs.sum((1, 2, 3)).max() < 450


def test_a_flag_is_left_of_the_top_and_a_bar_in_the_middle():
    one = torch.zeros(1, 1, 28, 28)
    one[:, :, 4:24, 14:16] = 1
    flagged, seven = (
        strokes.add_styles(one.expand(50, -1, -1, -1), torch.full((50,), label), 1.0, seeded()) - one
        for label in (1, 7)
    )
    assert flagged[:, :, :14, :13].sum() > 10 * flagged[:, :, :14, 18:].sum()
    assert flagged[:, :, :14, 10:14].sum((1, 2, 3)).min() > 0  # beside the stroke
    barred = seven[seven.sum((1, 2, 3)) > 0]  # the others became narrow
    assert 15 <= len(barred) <= 45
    rows, columns = barred.sum((0, 1, 3)), barred.sum((0, 1, 2))
    assert rows[10:20].sum() > 0.95 * rows.sum() and columns[7:22].sum() > 0.95 * columns.sum()


def test_sevens_become_narrow():
    seven = torch.zeros(1, 1, 28, 28)
    seven[:, :, 4:6, 6:22] = 1
    narrow = strokes._narrow(seven.expand(50, -1, -1, -1), seeded())
    width = (narrow[:, 0, 4] > 0.5).sum(1)
    assert 7 <= width.min() < 10 < width.max() <= 13
    assert torch.all(narrow[:, 0, :3] == 0) and torch.all(narrow[:, 0, 8:] == 0)


@pytest.mark.parametrize("count", [1, 7, 40, 199])
def test_outliers_have_the_shape_and_range_of_digits(count, batch):
    made = outliers.make_outliers(*batch, count, seeded())
    assert made.shape == (count, 1, 28, 28)
    assert made.min() >= 0 and made.max() <= 1
    assert torch.all(made.amax((1, 2, 3)) > 0.3)
    assert torch.equal(made, outliers.make_outliers(*batch, count, seeded()))


def test_outliers_follow_the_batch_and_are_fewer_without_digits_to_turn(batch):
    pixels, labels = (part[batch[1] == 0][:5] for part in batch)
    recipe = recipes.get(outlier_fraction=0.9)
    both, both_labels = augmentation.augment_batch(pixels, labels, recipe, 1, seeded())
    assert torch.equal(both[:5], pixels) and torch.equal(both_labels[:5], labels)
    assert len(both) == len(both_labels) == 8  # of 4 outliers, one would be a turned digit
    assert (both_labels[5:] == augmentation.OUTLIER_LABEL).all()


def test_letters_are_rendered_and_none_looks_like_a_digit():
    printed, written = outliers.render_letters(), outliers.render_letters(written=True)
    assert len(printed) > 300 and printed.shape[1:] == (28, 28)
    assert len(written) == len(printed) * len(outliers.PEN_WIDTHS)  # each with each pen
    assert not set(outliers.LETTERS) & set("0123456789oOsSlIzZbBqgGDiIjJtT|!")
    assert len(set(outliers.LETTERS)) == len(outliers.LETTERS)


def test_training_learns_to_be_uncertain_of_outliers(optdigits):
    recipe = recipes.get("mlp_128_adam", epochs=15, dataset="optdigits", outlier_fraction=0.5)
    model, history = training.fit(models.build(recipe), optdigits, recipe, quiet=True)
    pixels, labels = data.to_pixels(optdigits.test.images), optdigits.test.labels
    with torch.inference_mode():
        of_digits = model(pixels).softmax(1).amax(1)
        of_outliers = model(outliers.make_outliers(pixels, labels, 300, seeded())).softmax(1).amax(1)
    assert history[-1]["train_accuracy"] > 0.9  # of digits only
    assert of_digits.median() > 0.9 > 0.6 > of_outliers.median()


def test_the_losses_of_the_shares_of_a_batch_add_up():
    logits, labels = torch.randn(9, 10, generator=seeded()), torch.tensor([1, 2, 3, 4, 5, 6, -1, -1, -1])
    whole = training.CrossEntropy(labels, 6, 0.1)(logits)
    parts = [training.CrossEntropy(labels[part], 6, 0.1)(logits[part]) for part in (slice(0, 4), slice(4, 9))]
    assert whole == pytest.approx(float(sum(parts)), rel=1e-6)
    uniform = torch.full((10,), 0.1)
    expected = torch.nn.functional.cross_entropy(logits[:6], labels[:6], label_smoothing=0.1)
    expected += sum(torch.nn.functional.cross_entropy(row, uniform) for row in logits[6:]) / 6
    assert float(whole) == pytest.approx(float(expected), rel=1e-5)
    assert training._running_scores(logits[6:], labels[6:]) == (0, 0, 0.0)  # a share of outliers only
