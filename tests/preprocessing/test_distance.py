"""The distance transform gives what scipy's gives."""

import numpy as np
import pytest
from scipy import ndimage

from digit_recognizer.preprocessing.distance import distance_to_background


@pytest.mark.parametrize("shape", [(3, 3), (5, 90), (200, 7), (60, 80)])
@pytest.mark.parametrize("share", [0.5, 0.97, 1])
def test_distances_are_scipys(shape, share):
    mask = np.pad(np.random.default_rng(0).random(shape) < share, 1)
    expected = ndimage.distance_transform_edt(mask)
    assert np.array_equal(distance_to_background(mask), expected)
    assert np.array_equal(distance_to_background(mask, 3), np.minimum(expected, 3))


def test_where_all_is_foreground_every_distance_is_the_most():
    assert np.array_equal(distance_to_background(np.ones((4, 6), bool), 2), np.full((4, 6), 2.0))
