"""QMNIST, on small files in its real binary format: its parts, its writers, and the files that are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from loopback import digits_of_writers, idx

from digit_recognizer import data
from digit_recognizer.data import sources
from digit_recognizer.runtime.errors import UserError

pytestmark = pytest.mark.usefixtures("no_network")  # damaged files would be downloaded again


def write(root: Path, *parts: tuple[np.ndarray, np.ndarray]) -> None:
    """Write train's and test's images and labels where QMNIST has its files."""
    raw = root / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    for file, array in zip(sources.QMNIST_FILES, [array for part in parts for array in part], strict=True):
        (raw / file).write_bytes(idx(array))


@pytest.fixture(scope="module")
def made() -> list[tuple[np.ndarray, np.ndarray]]:
    """Train's and test's images and extended labels: 300 digits each, by 60 writers in all."""
    return [digits_of_writers(100, seed=1), digits_of_writers(2100, seed=2)]


@pytest.fixture
def root(made, tmp_path) -> Path:
    """A data folder with the four small files."""
    write(tmp_path, *made)
    return tmp_path


def parts_of(digits: data.Digits) -> list[data.Split]:
    """Train, validation and test."""
    return [digits.train, digits.validation, digits.test]


def found(digits: data.Digits, made: list) -> list[np.ndarray]:
    """For each part, where its digits stand among all that were made. The random images are all different."""
    where = {image.tobytes(): index for index, image in enumerate(np.concatenate([images for images, _ in made]))}
    assert len(where) == 600
    return [np.array([where[image.numpy().tobytes()] for image in part.images]) for part in parts_of(digits)]


def writers(digits: data.Digits, made: list) -> list[set[int]]:
    """The writers of each part."""
    column = np.concatenate([labels[:, sources.WRITER_COLUMN] for _, labels in made])
    return [set(column[indices].tolist()) for indices in found(digits, made)]


def test_the_files_begin_with_qmnists_magic_numbers(root):
    beginnings = [(root / "QMNIST" / "raw" / file).read_bytes()[:4].hex() for file in sources.QMNIST_FILES]
    assert beginnings == ["00000803", "00000c02", "00000803", "00000c02"]


def test_images_and_labels_are_those_of_the_files(root, made):
    digits = data.load("qmnist", root)
    made_labels = np.concatenate([labels[:, 0] for _, labels in made])
    assert (digits.name, digits.title, set(digits.md5)) == ("qmnist", "QMNIST", set(sources.QMNIST_FILES))
    for part, indices in zip(parts_of(digits), found(digits, made), strict=True):
        assert part.images.dtype == torch.uint8 and part.images.shape == (len(indices), 28, 28)
        assert part.labels.dtype == torch.int64 and part.labels.tolist() == made_labels[indices].tolist()


@pytest.mark.parametrize("name", ["qmnist", "qmnist-writers"])
def test_the_parts_hold_every_digit_once_and_are_the_same_every_time(root, made, name):
    first, second = (data.load(name, root) for _ in range(2))
    assert sorted(np.concatenate(found(first, made))) == list(range(600))
    for one, other in zip(parts_of(first), parts_of(second), strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def test_the_random_parts_are_80_and_10_and_10_percent(root):
    digits = data.load("qmnist", root)
    assert [len(part.labels) for part in parts_of(digits)] == [480, 60, 60]
    assert digits.held_out == ("validation", digits.validation)


def test_the_random_parts_mix_writers_and_the_files(root, made):
    digits = data.load("qmnist", root)
    train, validation, test = writers(digits, made)
    assert len(train | validation | test) == 60
    assert train & test and train & validation
    assert all(0 < (indices < 300).mean() < 1 for indices in found(digits, made))


def test_no_writer_is_in_two_parts_when_writers_are_kept_apart(root, made):
    train, validation, test = writers(data.load("qmnist-writers", root), made)
    assert len(train | validation | test) == 60
    assert len(train) + len(validation) + len(test) == 60 and train and validation and test


def test_with_writers_apart_the_parts_are_near_80_and_10_and_10_percent(root, made):
    sizes = [len(part.labels) for part in parts_of(data.load("qmnist-writers", root))]
    assert sum(sizes) == 600
    assert all(abs(size - wanted) <= 18 for size, wanted in zip(sizes, (480, 60, 60), strict=True))


def test_the_validation_part_is_there_whether_or_not_it_is_asked_for(root):
    asked, unasked = (data.load("qmnist", root, validation=validation) for validation in (True, False))
    assert torch.equal(asked.validation.images, unasked.validation.images)
    assert torch.equal(asked.train.images, unasked.train.images)


def refusal_of(root: Path) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(UserError) as refusal:
        data.load("qmnist", root, fall_back=True)
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


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
def test_a_damaged_file_is_refused_in_one_line(root, file, damage):
    path = root / "QMNIST" / "raw" / file
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    message = refusal_of(root)
    assert message.startswith(f"{path} is damaged (") and message.endswith(
        f"; put good copies into {path.parent}: {file}"
    )


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
def test_files_of_another_form_are_refused(made, tmp_path, part, change, reason, count):
    parts = list(made)
    parts[part] = change(*parts[part])
    write(tmp_path, *parts)
    assert refusal_of(tmp_path).count(reason) == count


def test_counts_that_agree_only_over_both_parts_are_refused(made, tmp_path):
    (images, labels), (test_images, test_labels) = made
    write(tmp_path, (images, labels[1:]), (test_images[1:], test_labels))
    assert refusal_of(tmp_path).count("images and labels differ in number") == 4


def test_a_missing_file_is_named(root):
    (root / "QMNIST" / "raw" / "qmnist-test-labels-idx2-int").unlink()
    with pytest.raises(UserError, match=r"put the missing files there, .*: qmnist-test-labels-idx2-int$"):
        data.load("qmnist", root)
