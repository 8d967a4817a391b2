"""Augmentation against SciPy's filters and against what may be measured on the digits themselves."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from digit_recognizer import data
from digit_recognizer.data import augmentation, strokes
from digit_recognizer.recipes.recipe import Augmentation

MODERATE = {
    "rotation": 15, "shift": 2, "scale": 0.2, "shear": 0.2, "elastic": 2, "stroke": 0.8, "blur": 0.8, "contrast": 0.8,
    "hard_edges": 0.7,
}  # fmt: skip
AREA = torch.tensor(128.0).double()  # of the bar, in pixels


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pixels(optdigits) -> Tensor:
    """50 digits. A test that changed them would fail the others."""
    return data.to_pixels(optdigits.train.images[:50])


def bar(count: int) -> Tensor:
    """count times an upright bar in the middle, 8 wide and 16 high: float32 (count, 1, 28, 28)."""
    pixels = torch.zeros(count, 1, 28, 28)
    pixels[:, :, 6:22, 10:18] = 1
    return pixels


def moments(pixels: Tensor) -> dict[str, Tensor]:
    """Ink, centre (from the middle of the picture) and second moments of each digit, in pixels."""
    ink = pixels.squeeze(1).double()
    mass = ink.sum((1, 2))
    along = torch.arange(28) - 13.5
    down, across = (ink.sum(2) @ along.double()) / mass, (ink.sum(1) @ along.double()) / mass
    y, x = along.view(1, 28, 1) - down.view(-1, 1, 1), along.view(1, 1, 28) - across.view(-1, 1, 1)
    yy, xx, xy = ((ink * product).sum((1, 2)) / mass for product in (y * y, x * x, x * y))
    return {"mass": mass, "down": down, "across": across, "yy": yy, "xx": xx, "xy": xy}


def changed(**strengths: float) -> dict[str, Tensor]:
    """The moments of 400 bars after augmentation by these strengths alone."""
    return moments(augmentation.augment(bar(400), Augmentation(**strengths), seeded()))


def test_zero_strength_is_the_identity_and_draws_nothing(pixels):
    generator = seeded()
    before = generator.get_state()
    assert augmentation.augment(pixels, Augmentation(), generator) is pixels
    assert torch.equal(generator.get_state(), before)


def test_a_grid_without_movement_is_the_identity_and_half_a_pixel_is_interpolated_by_cubics(pixels):
    here = augmentation.sampling_grid(50, Augmentation(), seeded())
    for interpolation in ("bilinear", "bicubic"):
        torch.testing.assert_close(augmentation.warp(pixels, here, interpolation), pixels, atol=1e-5, rtol=0)
    half = here + torch.tensor([1 / 28, 0])  # half a pixel to the right
    between = augmentation.warp(pixels, half, "bicubic")
    # Keys's cubic convolution, -0.75 its free number: what lies in the middle of four pixels.
    weights = torch.tensor([-0.09375, 0.59375, 0.59375, -0.09375]).view(1, 1, 1, 4)
    by_hand = torch.nn.functional.conv2d(torch.nn.functional.pad(pixels, (1, 2)), weights).clamp(0, 1)
    torch.testing.assert_close(between, by_hand, atol=1e-5, rtol=0)
    assert between.diff(dim=3).square().sum() > 1.05 * augmentation.warp(pixels, half).diff(dim=3).square().sum()
    bilinear, bicubic = (
        augmentation.augment(pixels, Augmentation(rotation=10, shift=1.5, interpolation=name), seeded())
        for name in ("bilinear", "bicubic")
    )
    assert bicubic.min() >= 0 and bicubic.max() <= 1 and 0.005 < (bicubic - bilinear).abs().mean() < 0.05


@pytest.mark.parametrize("name", MODERATE)
def test_every_strength_changes_the_digits_and_the_smallest_hardly(name, pixels):
    before = pixels.clone()
    much = augmentation.augment(pixels, Augmentation(**{name: MODERATE[name]}), seeded())
    assert much.shape == pixels.shape and much.dtype == torch.float32
    assert (much - pixels).abs().mean() > 0.005
    assert torch.equal(pixels, before)
    if name != "hard_edges":  # a probability: a digit is cut or is not
        little = augmentation.augment(pixels, Augmentation(**{name: MODERATE[name] / 1e4}), seeded())
        assert (little - pixels).abs().max() < 0.001


def test_all_together_stay_between_paper_and_ink_and_the_generator_alone_decides(pixels):
    before = torch.random.get_rng_state()
    first, second, other = (augmentation.augment(pixels, Augmentation(**MODERATE), seeded(seed)) for seed in (1, 1, 2))
    assert first.min() >= 0 and first.max() <= 1 and first.isfinite().all()
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)
    alike = augmentation.augment(bar(20), Augmentation(**MODERATE), seeded())
    assert len(alike.flatten(1).unique(dim=0)) == 20  # each digit of a batch is changed in its own way


def test_pixels_on_a_graphics_card_are_changed_there():
    # Tensors without content, which need no card; an operation on tensors of two devices fails as it would there.
    with FakeTensorMode(allow_non_fake_inputs=True):
        pixels = torch.empty(50, 1, 28, 28, device="cuda")
        for interpolation in ("bilinear", "bicubic"):
            changed = augmentation.augment(pixels, Augmentation(**MODERATE, interpolation=interpolation), seeded())
            assert (changed.device.type, changed.shape) == ("cuda", pixels.shape)
        for *_, change in strokes.STYLES:
            assert change(pixels, seeded()).device.type == "cuda"


def test_a_shift_moves_the_digit_by_at_most_that_many_pixels():
    found = changed(shift=3)
    for direction in ("across", "down"):
        assert found[direction].abs().max() <= 3.01
        assert found[direction].min() < -2.5 and found[direction].max() > 2.5
    torch.testing.assert_close(found["mass"], AREA.expand(400), atol=0.01, rtol=0)


def test_a_rotation_turns_the_bar_by_at_most_that_many_degrees():
    found = changed(rotation=30)
    angle = 0.5 * torch.atan2(2 * found["xy"], found["yy"] - found["xx"]).rad2deg()
    assert angle.abs().max() <= 30.5 and angle.min() < -25 and angle.max() > 25
    torch.testing.assert_close(found["mass"], AREA.expand(400), atol=4, rtol=0)


def test_a_scale_changes_width_and_height_each_by_at_most_that_fraction():
    found = changed(scale=0.25)
    high, wide = (found["yy"] / moments(bar(1))["yy"]).sqrt(), (found["xx"] / moments(bar(1))["xx"]).sqrt()
    assert 0.74 < high.min() < 0.8 and 1.2 < high.max() < 1.27
    assert 0.74 < wide.min() < 0.82 and 1.2 < wide.max() < 1.28
    assert torch.corrcoef(torch.stack([high, wide]))[0, 1].abs() < 0.2


def test_a_shear_slants_the_bar_by_at_most_that_many_pixels_a_row():
    found = changed(shear=0.4)
    slant = found["xy"] / found["yy"]
    assert slant.abs().max() <= 0.41 and slant.min() < -0.33 and slant.max() > 0.33
    torch.testing.assert_close(found["yy"], moments(bar(400))["yy"], atol=0.2, rtol=0)


def test_elastic_displacements_are_smooth_and_not_much_longer_than_their_strength():
    still, bent = (augmentation.sampling_grid(200, Augmentation(elastic=strength), seeded()) for strength in (0, 3))
    displaced = (bent - still) * 14  # in pixels
    assert 2 < displaced.abs().max() < 3 * 1.6  # bicubic interpolation may overshoot what was drawn
    assert displaced.diff(dim=1).abs().max() < 1.5 and displaced.diff(dim=2).abs().max() < 1.5


@pytest.mark.parametrize(("amount", "filter"), [(1.0, ndimage.grey_dilation), (-1.0, ndimage.grey_erosion)])
def test_full_stroke_weight_is_scipys_dilation_or_erosion_and_half_of_it_lies_half_way(amount, filter, pixels):
    full, half = (augmentation.stroke_width(pixels, torch.full((50,), each)) for each in (amount, amount / 2))
    theirs = [filter(image, size=(3, 3), mode="nearest") for image in pixels.squeeze(1).numpy()]
    np.testing.assert_allclose(full.squeeze(1), np.stack(theirs), atol=1e-6)
    torch.testing.assert_close(half, (pixels + full) / 2)


def test_full_blur_is_scipys_binomial_filter(pixels):
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    theirs = [ndimage.convolve(image, kernel, mode="constant") for image in pixels.squeeze(1).numpy()]
    np.testing.assert_allclose(augmentation.blur(pixels, torch.ones(50)).squeeze(1), np.stack(theirs), atol=1e-6)


@pytest.mark.parametrize(("amount", "grey"), [(0.5, 0.5), (0.0, 0.25), (-0.5, 0.0625)])
def test_contrast_moves_the_greys_and_leaves_paper_and_ink(amount, grey):
    pixels = torch.tensor([0.0, 0.25, 1.0]).view(1, 1, 1, 3)
    assert augmentation.contrast(pixels, torch.tensor([amount])).flatten().tolist() == pytest.approx([0, grey, 1])


def test_hard_edges_leave_paper_and_ink_only_where_chosen_as_often_as_the_probability_says(pixels, optdigits):
    soft, hard = augmentation.hard_edges(pixels[:2], torch.tensor([False, True]))
    assert torch.equal(soft, pixels[0]) and torch.equal(hard, (pixels[1] > 0.5).float())
    many = data.to_pixels(optdigits.train.images)
    cut = augmentation.augment(many, Augmentation(hard_edges=0.3), seeded())
    share = ((cut == 0) | (cut == 1)).flatten(1).all(1).double().mean()
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / len(many))
