"""The digits that a network is tested on, by name: the test part of each data set, and sets for testing alone.

mnist-undisputed     9,985         MNIST's test digits without those whose label is disputed
hwd-1000             1,000         drawn by one person, N. Henning
optdigits-original   1,797         scans of 13 people's digits, by E. Alpaydin and C. Kaynak
mnist-c              15 x 10,000   MNIST's test digits, damaged in fifteen ways; see corruptions

The public hands are in the package, with their licences: public_hands/README.md.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch

from digit_recognizer.data.digits import TEST_SETS, TITLES, Split, load
from digit_recognizer.runtime.errors import UserError

PUBLIC_HANDS = Path(__file__).parents[1] / "public_hands"
# MNIST's label had at most two of five votes: cleanlab/label-errors, mturk/mnist_mturk.json (Northcutt et al. 2021).
DISPUTED = (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)


def load_test(name: str, folder: str | Path | None = None) -> tuple[Split, dict[str, str]]:
    """The test digits of a set in MNIST's format, and the MD5 of each file.

    Those of mnist-c are not damaged yet. The pictures in the package go through preprocessing as any other picture
    does, which takes some seconds. folder: see load. Raises UserError as load does.
    """
    if name not in TITLES | TEST_SETS:
        raise UserError(f"unknown data set '{name}'; there are {', '.join(TITLES | TEST_SETS)}")
    if (path := PUBLIC_HANDS / f"{name}.npz").exists():
        from digit_recognizer.preprocessing.page import analyze  # here, since the other sets need no SciPy

        pictures, labels = pictures_of(name)
        images = np.stack([analyze(picture).digit().image for picture in pictures])
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        return Split(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))), {path.name: md5}
    digits = load("mnist" if name in TEST_SETS else name, folder)
    if name != "mnist-undisputed":
        return digits.test, digits.md5
    undisputed = torch.ones(len(digits.test.labels), dtype=torch.bool)
    undisputed[list(DISPUTED)] = False
    return digits.test.take(undisputed.nonzero().flatten()), digits.md5


def pictures_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of a public hand as they are: uint8 (n, height, width), dark on light, and labels uint8 (n,)."""
    with np.load(PUBLIC_HANDS / f"{name}.npz") as file:
        return file["pictures"], file["labels"]
