"""Sets for testing alone: what ships is what its authors made, with its notices; disputed labels are left out."""

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from digit_recognizer import data
from digit_recognizer.data import test_sets
from digit_recognizer.runtime.errors import UserError

# Shape and MD5 of the decoded pictures and labels as their authors published them, and the count of each digit.
PUBLISHED = {
    "hwd-1000": ((1000, 28, 28), "bcade6e603ebf9be3d4b0923aeb0f1ab", [100] * 10),
    "optdigits-original": (
        (1797, 32, 32), "8ae41bb6c554091aee44c8e877cb41cc", [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=PUBLISHED)
def hand(request):
    """The name of a public hand, its digits in MNIST's format and its MD5s."""
    return request.param, *test_sets.load_test(request.param)


def test_the_pictures_in_the_package_are_those_that_were_published(hand):
    shape, md5, counts = PUBLISHED[hand[0]]
    pictures, labels = test_sets.pictures_of(hand[0])
    assert (pictures.shape, pictures.dtype) == (shape, np.uint8)
    content = pictures.tobytes() + labels.tobytes()
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
    assert np.bincount(labels).tolist() == counts
    assert (np.median(pictures, (1, 2)) == 255).mean() > 0.95  # dark on light


def test_public_hands_come_in_mnists_format(hand):
    name, (images, labels), md5 = hand
    assert images.dtype == torch.uint8 and images.shape == (len(labels), 28, 28)
    assert labels.dtype == torch.int64 and labels.bincount().tolist() == PUBLISHED[name][2]
    assert 15 < images.float().mean() < 60 and (images.amax((1, 2)) > 200).all()
    border = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    assert (border > 127).float().mean() < 0.001
    (file,) = md5
    content = (test_sets.PUBLIC_HANDS / file).read_bytes()
    assert file == f"{name}.npz" and md5[file] == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_the_original_bitmaps_are_those_that_scikit_learns_scans_were_made_of():
    """Each pixel of a scan counts the dark pixels of a block of 4x4."""
    pictures, labels = test_sets.pictures_of("optdigits-original")
    counts = (pictures == 0).reshape(-1, 8, 4, 8, 4).sum((2, 4))
    scans = load_digits()
    assert np.array_equal(counts, scans.images) and np.array_equal(labels, scans.target)


def test_the_notices_lie_beside_the_files():
    notices = (test_sets.PUBLIC_HANDS / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.npz`" in notices for name in PUBLISHED)
    assert "E. Alpaydin and C. Kaynak" in notices and "CC BY 4.0" in notices
    licence = (test_sets.PUBLIC_HANDS / "hwd-1000.LICENSE").read_text(encoding="utf-8")
    assert licence.startswith("MIT License") and "Copyright (c) 2024 Niklas Henning" in licence


def test_the_undisputed_are_all_test_digits_but_fifteen(mnist):
    undisputed, md5 = test_sets.load_test("mnist-undisputed")
    assert len(undisputed.labels) == 9985 and md5 == mnist.md5
    # MNIST's labels of those left out, as cleanlab/label-errors states them.
    disputed = mnist.test.take(torch.tensor(test_sets.DISPUTED))
    assert disputed.labels.tolist() == [8, 0, 9, 4, 2, 5, 6, 6, 5, 5, 0, 1, 4, 6, 5]
    left, kept = ({image.tobytes() for image in split.images.numpy()} for split in (disputed, undisputed))
    assert len(left) == 15 and not left & kept
    assert torch.equal(undisputed.images[:947], mnist.test.images[:947])


def test_other_names_are_the_test_part_of_their_set(mnist, optdigits):
    for name, expected in (("mnist", mnist), ("mnist-c", mnist), ("optdigits", optdigits)):
        found, md5 = test_sets.load_test(name)
        assert torch.equal(found.images, expected.test.images) and md5 == expected.md5


@pytest.mark.parametrize("name", data.TEST_SETS)
def test_sets_for_testing_are_not_loaded_for_training(name):
    with pytest.raises(UserError, match=f"{name} is for `digits evaluate` alone; to train on, there are mnist, qmnist"):
        data.load(name)


def test_an_unknown_name_names_all_that_there_are():
    with pytest.raises(UserError, match=r"unknown data set 'hwd-1001'; there are mnist, .*, optdigits-original"):
        test_sets.load_test("hwd-1001")
