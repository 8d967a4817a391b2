"""QMNIST, on small files in its real binary format: its parts, its writers, and the files that are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from loopback import digits_of_writers, idx, refusal_of

from digit_recognizer import data
from digit_recognizer.data import sources

pytestmark = pytest.mark.usefixtures("no_network")  # damaged files would be downloaded again
# Train's and test's images and extended labels: 300 digits each, by 60 writers in all. All images differ.
MADE = [digits_of_writers(100, seed=1), digits_of_writers(2100, seed=2)]
IMAGES, LABELS = (np.concatenate(arrays) for arrays in zip(*MADE, strict=True))
PLACES = {image.tobytes(): index for index, image in enumerate(IMAGES)}


def write(root: Path, *parts: tuple[np.ndarray, np.ndarray]) -> Path:
    """Write train's and test's images and labels where QMNIST has its files: the folder."""
    raw = root / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    for file, array in zip(sources.QMNIST_FILES, [array for part in parts for array in part], strict=True):
        (raw / file).write_bytes(idx(array))
    return raw


def parts_of(name: str, root: Path, **options: bool) -> list[data.Split]:
    """Train, validation and test."""
    digits = data.load(name, root, **options)
    return [digits.train, digits.validation, digits.test]


def test_images_and_labels_are_those_of_the_files(tmp_path):
    raw = write(tmp_path, *MADE)
    beginnings = [(raw / file).read_bytes()[:4].hex() for file in sources.QMNIST_FILES]
    assert beginnings == ["00000803", "00000c02", "00000803", "00000c02"]  # QMNIST's magic numbers
    digits = data.load("qmnist", tmp_path)
    assert (digits.name, digits.title, set(digits.md5)) == ("qmnist", "QMNIST", set(sources.QMNIST_FILES))
    assert digits.held_out == ("validation", digits.validation)
    for part in (digits.train, digits.validation, digits.test):
        places = [PLACES[image.numpy().tobytes()] for image in part.images]
        assert part.images.dtype == torch.uint8 and part.images.shape[1:] == (28, 28)
        assert part.labels.dtype == torch.int64 and part.labels.tolist() == LABELS[places, 0].tolist()


@pytest.mark.parametrize("name", ["qmnist", "qmnist-writers"])
def test_the_parts_of_80_10_and_10_percent_hold_every_digit_once_and_no_writer_twice_if_kept_apart(tmp_path, name):
    write(tmp_path, *MADE)
    parts = parts_of(name, tmp_path)
    places = [[PLACES[image.numpy().tobytes()] for image in part.images] for part in parts]
    assert sorted(np.concatenate(places)) == list(range(600))
    writers = [set(LABELS[indices, sources.WRITER_COLUMN].tolist()) for indices in places]
    assert len(set.union(*writers)) == 60
    if name == "qmnist-writers":
        assert sum(map(len, writers)) == 60 and all(writers)
        assert all(abs(len(part) - wanted) <= 18 for part, wanted in zip(places, (480, 60, 60), strict=True))
    else:
        assert [*map(len, places)] == [480, 60, 60]
        assert writers[0] & writers[1] and writers[0] & writers[2]
        assert all(0 < np.less(indices, 300).mean() < 1 for indices in places)  # both files are in each part
    for one, other in zip(parts, parts_of(name, tmp_path, validation=True), strict=True):  # asked for or not
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut within the header": lambda whole: whole[:10],
    "cut after the header": lambda whole: whole[:16],
    "cut by a byte": lambda whole: whole[:-1],
    "longer by four bytes": lambda whole: whole + bytes(4),
    "a web page": lambda whole: b"<html>\n<body>Not Found</body>\n</html>\n",
    "wrong type": lambda whole: b"\0\0\x0a" + whole[3:],
    "wrong number of dimensions": lambda whole: whole[:3] + b"\x01" + whole[4:],
    "255 dimensions": lambda whole: whole[:3] + b"\xff" + whole[4:],
    "a huge count": lambda whole: whole[:4] + b"\xff\xff\xff\xff" + whole[8:],
}


@pytest.mark.parametrize("file", sources.QMNIST_FILES[:2])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, file, damage):
    path = write(tmp_path, *MADE) / file
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    message = refusal_of("qmnist", tmp_path, fall_back=True)
    assert message.startswith(f"{path} is damaged (")
    assert message.endswith(f"; put good copies into {path.parent}: {file}")


def with_label(label: int) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    return lambda images, labels: (images, np.where(np.arange(len(labels))[:, None] == 7, np.int32(label), labels))


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize(
    ("change", "reason", "count"),
    [
        (lambda images, labels: (images, labels[1:]), "(images and labels differ in number)", 2),
        (lambda images, labels: (images[:, 1:], labels), "(its type or shape is not QMNIST's)", 1),
        (lambda images, labels: (images, labels[:, :1]), "(its type or shape is not QMNIST's)", 1),
        (lambda images, labels: (labels, images), "(its type or shape is not QMNIST's)", 2),
        (with_label(-1), "(it has labels outside 0 to 9)", 1),
        (with_label(10), "(it has labels outside 0 to 9)", 1),
    ],
    ids=["a label less", "images of another size", "short labels", "swapped", "a label of -1", "a label of 10"],
)
def test_files_of_another_form_are_refused(tmp_path, part, change, reason, count):
    parts = list(MADE)
    parts[part] = change(*parts[part])
    write(tmp_path, *parts)
    assert refusal_of("qmnist", tmp_path, fall_back=True).count(reason) == count


def test_counts_that_agree_only_over_both_parts_are_refused_and_a_missing_file_is_named(tmp_path):
    (images, labels), (test_images, test_labels) = MADE
    write(tmp_path / "unequal", (images, labels[1:]), (test_images[1:], test_labels))
    assert refusal_of("qmnist", tmp_path / "unequal").count("images and labels differ in number") == 4
    (write(tmp_path / "missing", *MADE) / "qmnist-test-labels-idx2-int").unlink()
    message = refusal_of("qmnist", tmp_path / "missing")
    assert message.endswith("; put the missing files there, as .gz or unpacked: qmnist-test-labels-idx2-int")
