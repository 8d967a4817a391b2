"""Damage that a network is trained against: how much, how often, and that a digit is still there."""

import pytest
import torch

from digit_recognizer import data
from digit_recognizer.data import damage
from digit_recognizer.data.augmentation import augment
from digit_recognizer.recipes.recipe import Augmentation


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def pixels(optdigits):
    return data.to_pixels(optdigits.train.images[:400])


@pytest.mark.parametrize("kind", damage.KINDS, ids=lambda kind: kind.__name__.strip("_"))
def test_every_kind_changes_a_digit_and_leaves_something_of_it(kind, pixels):
    damaged = kind(pixels, seeded()).clamp(0, 1)
    assert damaged.shape == pixels.shape and damaged.dtype == torch.float32
    assert (damaged != pixels).any(dim=(1, 2, 3)).float().mean() > 0.9
    assert torch.equal(damaged, kind(pixels, seeded()).clamp(0, 1))
    # Each is more like the digit it was made of, or like its negative, than like the next one.
    flat, others = (each.flatten(1) - each.flatten(1).mean(1, keepdim=True) for each in (pixels, pixels.roll(1, 0)))
    found = damaged.flatten(1) - damaged.flatten(1).mean(1, keepdim=True)
    assert ((found * flat).sum(1).abs() > (found * others).sum(1).abs()).float().mean() > 0.75


def test_as_many_images_are_damaged_as_the_probability_says(pixels):
    before = pixels.clone()
    damaged = damage.add_damage(pixels, 0.3, seeded())
    assert torch.equal(pixels, before) and damaged.min() >= 0 and damaged.max() <= 1
    assert (damaged != pixels).any(dim=(1, 2, 3)).float().mean() == pytest.approx(0.3, abs=0.08)
    assert torch.equal(damage.add_damage(pixels, 0.0, seeded()), pixels)
    assert torch.equal(augment(pixels, Augmentation(damage=0.3), seeded()), damaged)
    assert damage.add_damage(pixels[:0], 0.5, seeded()).shape == (0, 1, 28, 28)
