"""What was written anew for speed gives what the library gives."""

import numpy as np
import pytest
from scipy import ndimage

from digit_recognizer.preprocessing import binarization


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 2), (40, 61)])
def test_the_median_of_neighbours_is_scipys(shape):
    random = np.random.default_rng(0)
    for values in (random.random(shape, np.float32), random.integers(0, 3, shape).astype(np.float32)):
        assert np.array_equal(binarization._median(values), ndimage.median_filter(values, 3, mode="nearest"))


@pytest.mark.parametrize("shape", [(1, 5), (50, 70), (300, 2)])
@pytest.mark.parametrize("share", [0, 0.05, 0.5, 1])
def test_vertical_runs_are_the_labels_of_columns(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    labels, _ = ndimage.label(mask, [[0, 1, 0]] * 3)
    assert np.array_equal(binarization._vertical_runs(mask), np.bincount(labels.ravel())[labels] * mask)
