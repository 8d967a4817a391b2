"""What is read off sorted values is what numpy and scikit-image compute."""

import numpy as np
import pytest
from skimage import filters

from digit_recognizer.preprocessing.sorted_values import percentile, threshold_otsu


@pytest.mark.parametrize("count", [1, 2, 3, 999, 1000])
@pytest.mark.parametrize("percent", [0.5, 5, 40, 50, 99.8])
def test_percentiles_are_numpys(count, percent):
    values = np.random.default_rng(0).random((3, count), np.float32)
    assert np.array_equal(percentile(np.sort(values), percent), np.percentile(values, percent, axis=1))


@pytest.mark.parametrize("levels", [2, 256, 2**20])
def test_otsus_threshold_is_scikit_images(levels):
    random = np.random.default_rng(0)
    for count in (10, 300, 20_000):  # few grey values fall on the edges of the bins
        values = random.integers(0, levels, count).astype(np.float32) ** 2 / levels**2
        assert threshold_otsu(np.sort(values)) == filters.threshold_otsu(values)


def test_the_threshold_of_equal_values_is_their_own():
    assert threshold_otsu(np.full(9, 0.25, np.float32)) == 0.25
