"""Damaged digits: the same in every run, changed as each kind says, and still the digits that they were."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from digit_recognizer import checkpoints, evaluation
from digit_recognizer.data import corruptions
from digit_recognizer.data.corruptions import KINDS, corrupt

COUNT = 300
# Kinds that move or blur strokes; a pixelwise comparison no longer finds the digit they came from.
MOVED = {"glass_blur", "motion_blur", "shear", "scale", "rotate", "translate"}


@pytest.fixture(scope="module")
def digits(mnist):
    """The first test digits."""
    return mnist.test.take(torch.arange(COUNT))


@pytest.fixture(scope="module")
def damaged(digits):
    """All kinds of damage to them, by name: float64 in [0, 1]."""
    return {kind: corrupt(digits.images, kind).numpy() / 255 for kind in KINDS}


def centre(images):
    """Centres of mass, float (n, 2), as row and column."""
    return np.array([ndimage.center_of_mass(image) for image in images])


def standardized(images):
    """Each image as a row of mean 0 and length 1."""
    rows = images.reshape(len(images), -1) - images.mean((1, 2))[:, None]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_there_are_the_fifteen_kinds_of_mnist_c():
    assert list(KINDS) == [
        "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "shear", "scale", "rotate", "brightness",
        "translate", "stripe", "fog", "spatter", "dotted_line", "zigzag", "canny_edges",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_the_same_in_every_run_and_changes_every_image(digits, kind):
    kept = digits.images.clone()
    first, again = corrupt(digits.images, kind), corrupt(digits.images, kind)
    assert first.dtype == torch.uint8 and first.shape == (COUNT, 28, 28)
    assert torch.equal(first, again) and torch.equal(digits.images, kept)
    assert (first != digits.images).any((1, 2)).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in MOVED])
def test_the_nearest_digit_still_has_the_same_label(digits, damaged, kind):
    """Edges lie where the brightness changes; all else where it was."""
    clean = digits.images.numpy() / 255
    if kind == "canny_edges":
        clean = np.stack([ndimage.gaussian_gradient_magnitude(image, 1) for image in clean])
    nearest = (standardized(damaged[kind]) @ standardized(clean).T).argmax(1)
    assert (digits.labels[nearest] == digits.labels).float().mean() >= 0.99


@pytest.mark.parametrize("kind", sorted(MOVED))
def test_a_network_still_reads_what_was_moved_or_blurred(digits, kind):
    logits = evaluation.predict(checkpoints.pretrained("cnn_best").model, corrupt(digits.images, kind))
    assert evaluation.score(logits, digits.labels).accuracy >= 0.88


def test_noise_counts_photons_or_paints_pixels_black_and_white(digits, damaged):
    clean = digits.images.numpy() / 255
    assert set(np.unique(damaged["shot_noise"] * 3).round(6)) == {0, 1, 2, 3}
    assert (damaged["shot_noise"][clean == 0] == 0).all()
    grey = (clean > 0) & (clean < 1)  # a black or white pixel may be painted as it was
    painted = damaged["impulse_noise"] != clean
    assert set(np.unique(damaged["impulse_noise"][painted])) == {0, 1}
    assert painted[grey].mean() == pytest.approx(0.17, abs=0.01)
    assert damaged["impulse_noise"][grey & painted].mean() == pytest.approx(0.5, abs=0.03)


def test_blurs_keep_the_ink_and_motion_drags_it_to_the_left(digits, damaged):
    clean = digits.images.numpy() / 255
    for kind in ("glass_blur", "motion_blur"):
        assert damaged[kind].sum() == pytest.approx(clean.sum(), rel=0.03)
        assert (damaged[kind].max((1, 2)) <= clean.max((1, 2))).all()
    moved = centre(damaged["motion_blur"]) - centre(clean)
    assert (moved[:, 1] < -1).all() and abs(moved[:, 0].mean()) < 0.3


def test_digits_are_turned_leant_shrunk_and_moved_by_as_much_as_is_said(damaged):
    upright = torch.zeros(1, 28, 28, dtype=torch.uint8)
    upright[0, 4:24, 13:15] = 255
    for kind in ("shear", "rotate"):
        image = corrupt(upright, kind)[0].numpy() / 255
        rows, columns = np.nonzero(image > 0.5)
        assert abs(np.arctan(np.polyfit(rows, columns, 1)[0])) == pytest.approx(0.4, abs=0.04), kind
        assert np.allclose(centre(image[None]), 13.5, atol=0.05)
    small = corrupt(upright, "scale")[0].numpy()
    assert np.count_nonzero(small.max(1) > 127) == 14
    moved = corrupt(upright.expand(100, 28, 28), "translate").numpy()
    assert {tuple(each) for each in centre(moved) - 13.5} == {(3, 3), (3, -3), (-3, 3), (-3, -3)}


def test_paper_turns_grey_black_and_foggy(digits, damaged):
    clean, bright, stripe, fog = (
        digits.images.numpy() / 255, damaged["brightness"], damaged["stripe"], damaged["fog"],
    )  # fmt: skip
    assert bright.min() == pytest.approx(0.5, abs=0.01)
    assert np.allclose(bright, np.minimum(clean + 0.5, 1), atol=0.01)
    assert np.array_equal(stripe[:, :, 7:21], clean[:, :, 7:21])
    outside = np.r_[0:7, 21:28]
    assert np.allclose(stripe[:, :, outside] + clean[:, :, outside], 1)
    corner = fog[:, :4, :4]  # without ink: fog alone, three quarters at most
    assert 0.2 < corner.mean() < 0.6 and corner.mean((1, 2)).std() > 0.05 and corner.max() <= 0.8
    assert (np.abs(np.diff(corner, axis=2)) < 0.2).all()  # clouds, not noise
    assert (fog[clean > 0.9].mean() - fog[clean == 0].mean()) == pytest.approx(0.25, abs=0.03)


def test_mud_is_dark_grey_and_covers(digits, damaged):
    clean = digits.images.numpy() / 255
    changed = damaged["spatter"] != clean
    assert 0.05 < changed.mean() < 0.3
    paper = damaged["spatter"][clean == 0]
    assert paper.max() <= 63 / 255 + 0.01 and ((paper == 0) | (paper > 0.19)).all()
    assert (damaged["spatter"][changed & (clean > 0.9)] < 0.45).all()


def test_lines_are_drawn_over_the_digit_and_reach_from_side_to_side(digits, damaged):
    clean = digits.images.numpy() / 255
    for kind, drawn in (("dotted_line", np.arange(28) % 4 > 1), ("zigzag", np.isin(np.arange(28), range(2, 26)))):
        added = damaged[kind] - clean
        assert (added >= -1e-9).all() and (added[:, :, ~drawn] == 0).all()
        assert (damaged[kind].max(1)[:, drawn] > 0.3).mean() > 0.97  # but where a line leaves the image
    empty = corrupt(torch.zeros(50, 28, 28, dtype=torch.uint8), "zigzag").numpy().argmax(1)[:, 2:26]
    turns = np.diff(np.sign(np.diff(empty, axis=1)), axis=1)
    assert (np.count_nonzero(turns, axis=1) >= 4).all()


def test_edges_are_thin_lines_around_the_strokes(digits, damaged):
    clean, edges = digits.images.numpy() / 255, damaged["canny_edges"]
    assert set(np.unique(edges)) == {0, 1}
    steep = np.stack([ndimage.gaussian_gradient_magnitude(image, 1) for image in clean])
    assert steep[edges == 1].mean() > 4 * steep[edges == 0].mean()


def test_an_image_without_a_digit_has_no_edges_and_no_fog():
    blank = torch.zeros(2, 28, 28, dtype=torch.uint8)
    for kind in ("fog", "canny_edges", "motion_blur"):
        assert not corrupt(blank, kind).any(), kind
    assert corruptions.SEED == 0
