"""The digits: known counts, fixed splits, torch's own batches and pixels, and files that are refused."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import MNIST

from digit_recognizer import data, models
from digit_recognizer.data import sources
from digit_recognizer.runtime.errors import UserError

FILES = list(sources.MNIST_MD5)


def md5(labels: torch.Tensor) -> str:
    """The MD5 of int64 labels, so that a changed split cannot go unseen."""
    return hashlib.md5(labels.numpy().astype("<i8").tobytes(), usedforsecurity=False).hexdigest()


def centres(images: torch.Tensor) -> torch.Tensor:
    """Centres of mass, float64 (n, 2), as row and column. images: uint8 (n, 28, 28)."""
    ink = images.double()
    steps = torch.arange(28, dtype=torch.float64)
    return torch.stack([ink.sum(2) @ steps, ink.sum(1) @ steps], 1) / ink.sum((1, 2)).unsqueeze(1)


def longest_sides(images: torch.Tensor) -> torch.Tensor:
    """The longer side of each digit's box of ink, in pixels: int64 (n,)."""
    sides = []
    for axis in (1, 2):
        inked = images.amax(axis).bool().int()
        sides.append(28 - inked.argmax(1) - inked.flip(1).argmax(1))
    return torch.stack(sides).amax(0)


def rows_of(split: data.Split) -> list[bytes]:
    """Each digit with its label as bytes, sorted, to compare sets of digits."""
    return sorted(
        image.tobytes() + bytes([label]) for image, label in zip(split.images.numpy(), split.labels, strict=True)
    )


def refusal_of(name: str, folder: Path, **options: bool) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(UserError) as refusal:
        data.load(name, folder, **options)
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


# Known counts


def test_mnist_has_its_known_counts(mnist):
    assert (mnist.name, mnist.title, mnist.validation) == ("mnist", "MNIST", None)
    assert mnist.train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.md5 == sources.MNIST_MD5


def test_mnist_is_uint8_with_bright_ink(mnist):
    for split, count in ((mnist.train, 60_000), (mnist.test, 10_000)):
        assert split.images.shape == (count, 28, 28) and split.images.dtype == torch.uint8
        assert split.labels.shape == (count,) and split.labels.dtype == torch.int64


def test_mnists_mean_and_deviation_are_those_everyone_normalises_with(mnist):
    pixels = torch.arange(256, dtype=torch.float64) / 255
    share = mnist.train.images.flatten().bincount().double() / mnist.train.images.numel()
    mean = share @ pixels
    deviation = (share @ (pixels - mean) ** 2).sqrt()
    assert (round(mean.item(), 4), round(deviation.item(), 4)) == (0.1307, 0.3081)


def test_mnists_centres_of_mass_lie_in_the_middle(mnist):
    where = centres(torch.cat([mnist.train.images, mnist.test.images]))
    assert where.min() > 13.4 and where.max() < 14.6


def test_mnists_longest_sides_are_twenty_pixels(mnist):
    sides = longest_sides(torch.cat([mnist.train.images, mnist.test.images]))
    assert sides.max() == 20
    assert (sides == 20).sum() > 69_900


def test_optdigits_follows_mnists_rule(optdigits):
    for split in (optdigits.train, optdigits.test):
        assert (longest_sides(split.images) == 20).all()
        assert (centres(split.images) - 14).abs().max() < 0.6
        assert split.images.dtype == torch.uint8 and split.labels.dtype == torch.int64
        assert 0 < split.images.float().mean() < 100


def test_optdigits_are_scikit_learns_scans(optdigits):
    from sklearn.datasets import load_digits

    assert (optdigits.name, optdigits.title) == ("optdigits", "optdigits")
    labels = torch.cat([optdigits.train.labels, optdigits.test.labels])
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    images, scanned, _ = sources.optdigits()
    assert scanned.tolist() == load_digits().target.tolist()
    whole = data.Split(images, scanned)
    parts = data.Split(torch.cat([optdigits.train.images, optdigits.test.images]), labels)
    assert rows_of(whole) == rows_of(parts)


# Splits


def test_the_split_of_optdigits_is_fixed(optdigits):
    assert (len(optdigits.train.labels), len(optdigits.test.labels), optdigits.validation) == (1437, 360, None)
    assert md5(optdigits.train.labels) == "654bab9524652c39419479a90268c89c"
    assert md5(optdigits.test.labels) == "216e3c127f47781be22c11e4829ec4a3"


def test_the_validation_split_of_mnist_is_fixed(mnist):
    split = data.load("mnist", validation=True)
    assert (len(split.train.labels), len(split.validation.labels)) == (55_000, 5_000)
    assert md5(split.validation.labels) == "d7d241b8245dcebe72c760886b0f2dae"
    assert torch.equal(split.test.images, mnist.test.images)


def test_the_validation_split_of_mnist_is_disjoint_and_complete(mnist):
    split = data.load("mnist", validation=True)
    assert rows_of(mnist.train) == sorted(rows_of(split.train) + rows_of(split.validation))


def test_the_validation_split_of_optdigits_is_fixed_disjoint_and_complete(optdigits):
    split = data.load("optdigits", validation=True)
    assert (len(split.train.labels), len(split.validation.labels)) == (1318, 119)
    assert md5(split.validation.labels) == "c3189cc728673efb0a3f5e8f424aac54"
    assert rows_of(optdigits.train) == sorted(rows_of(split.train) + rows_of(split.validation))
    assert rows_of(optdigits.test) == rows_of(split.test)


def test_the_seed_of_the_run_does_not_move_a_split():
    torch.manual_seed(1)
    first = data.load("optdigits", validation=True)
    torch.manual_seed(2)
    second = data.load("optdigits", validation=True)
    assert torch.equal(first.validation.images, second.validation.images)
    assert torch.equal(first.test.images, second.test.images)


def test_the_curve_is_drawn_on_the_validation_part_where_there_is_one(optdigits):
    with_validation = data.load("optdigits", validation=True)
    assert optdigits.held_out == ("test", optdigits.test)
    assert with_validation.held_out == ("validation", with_validation.validation)


# Batches and pixels


@pytest.mark.parametrize("seed", [0, 42])
def test_three_epochs_of_batches_equal_the_data_loaders_draw_for_draw(optdigits, seed):
    split = optdigits.train
    ours, theirs = (torch.Generator().manual_seed(seed) for _ in range(2))
    loader = DataLoader(TensorDataset(*split), shuffle=True, batch_size=64, generator=theirs)
    for _ in range(3):
        for batch, (images, labels) in zip(data.batches(split, 64, ours), loader, strict=True):
            assert torch.equal(batch.images, images) and torch.equal(batch.labels, labels)
        assert torch.equal(ours.get_state(), theirs.get_state())


@pytest.mark.parametrize(("count", "batch_size", "sizes"), [(128, 64, [64, 64]), (10, 64, [10]), (5, 2, [2, 2, 1])])
def test_batches_equal_the_data_loaders_whether_or_not_the_last_is_full(optdigits, count, batch_size, sizes):
    split = optdigits.train.take(torch.arange(count))
    ours, theirs = (torch.Generator().manual_seed(3) for _ in range(2))
    loader = DataLoader(TensorDataset(*split), shuffle=True, batch_size=batch_size, generator=theirs)
    for _ in range(3):
        epoch = list(data.batches(split, batch_size, ours))
        assert [len(batch.labels) for batch in epoch] == sizes
        assert all(torch.equal(batch.images, images) for batch, (images, _) in zip(epoch, loader, strict=True))


def test_an_epoch_has_every_digit_once_with_its_label_and_keeps_the_last_smaller_batch(optdigits):
    epoch = list(data.batches(optdigits.train, 64, torch.Generator().manual_seed(0)))
    assert [len(batch.labels) for batch in epoch] == [64] * 22 + [29]
    together = data.Split(*(torch.cat(part) for part in zip(*epoch, strict=True)))
    assert rows_of(together) == rows_of(optdigits.train)


def test_the_order_of_two_epochs_differs(optdigits):
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.cat([batch.labels for batch in data.batches(optdigits.train, 64, generator)]) for _ in range(2)
    )
    assert not torch.equal(first, optdigits.train.labels)
    assert not torch.equal(first, second)
    assert torch.equal(first.bincount(), second.bincount())


def test_batches_move_no_other_generator(optdigits):
    before = torch.random.get_rng_state()
    assert len(list(data.batches(optdigits.train, 64, torch.Generator().manual_seed(0)))) == 23
    assert torch.equal(torch.random.get_rng_state(), before)


def published_way(mean: float, deviation: float) -> transforms.Compose:
    """ToTensor and Normalize, as the published projects write it."""
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize((mean,), (deviation,))])


@pytest.mark.parametrize(("mean", "deviation"), [(0.1307, 0.3081), (0.5, 0.5)])
def test_pixels_of_pictures_equal_to_tensor_and_normalize_bit_for_bit(optdigits, mean, deviation):
    images, transform = optdigits.test.images, published_way(mean, deviation)
    theirs = torch.stack([transform(Image.fromarray(image.numpy())) for image in images])
    assert theirs.shape == (360, 1, 28, 28)
    assert torch.equal(models.Normalize(mean, deviation)(data.to_pixels(images)), theirs)


def test_pixels_of_mnist_equal_the_usual_loaders_bit_for_bit(mnist):
    folder = os.environ.get("DIGITS_DATA_DIR") or "data"
    usual = Subset(MNIST(folder, train=True, transform=published_way(0.1307, 0.3081)), range(500))
    theirs, labels = next(iter(DataLoader(usual, batch_size=500)))
    ours = models.Normalize(0.1307, 0.3081)(data.to_pixels(mnist.train.images[:500]))
    assert torch.equal(ours, theirs) and torch.equal(mnist.train.labels[:500], labels)


def test_all_grays_become_pixels_as_to_tensor_makes_them():
    grays = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    pixels = data.to_pixels(grays)
    assert torch.equal(pixels[0], transforms.ToTensor()(Image.fromarray(grays[0].numpy())))
    assert (pixels.min(), pixels.max(), pixels.dtype) == (0, 1, torch.float32)
    assert grays.flatten().tolist() == list(range(256))


# Files that are refused


@pytest.fixture(scope="module")
def copied(mnist, tmp_path_factory):
    """A copy of MNIST's folder for tests that damage a file and mend it again; removed at the end."""
    root = tmp_path_factory.mktemp("copied")
    shutil.copytree(Path(os.environ.get("DIGITS_DATA_DIR") or "data") / "MNIST", root / "MNIST")
    assert len(data.load("mnist", root).test.labels) == 10_000
    yield root
    shutil.rmtree(root)


@contextlib.contextmanager
def replaced(path: Path, content: bytes):
    """Another content in this file for a while."""
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(whole)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("file", FILES)
def test_a_flipped_byte_is_refused_with_the_files_name(copied, file):
    path = copied / "MNIST" / "raw" / file
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    with replaced(path, flipped):
        message = refusal_of("mnist", copied)
    assert message.startswith(f"{path} is damaged") and message.endswith(f"put good copies there: {file}")
    assert [name for name in FILES if name in message] == [file]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("file", FILES)
def test_a_truncated_file_is_refused_with_its_name(copied, file):
    path = copied / "MNIST" / "raw" / file
    with replaced(path, path.read_bytes()[:-1]):
        message = refusal_of("mnist", copied)
    assert str(path) in message and "damaged" in message


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("kind", ["images-idx3-ubyte", "labels-idx1-ubyte"])
def test_swapped_files_are_refused_with_both_names(copied, kind):
    train, test = (copied / "MNIST" / "raw" / f"{part}-{kind}" for part in ("train", "t10k"))
    of_train, of_test = train.read_bytes(), test.read_bytes()
    with replaced(train, of_test), replaced(test, of_train):
        message = refusal_of("mnist", copied)
    assert f"{train} is damaged" in message and f"{test} is damaged" in message


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named_and_the_others_are_left_alone(copied, no_network, file):
    raw = copied / "MNIST" / "raw"
    (raw / file).rename(copied / file)
    try:
        message = refusal_of("mnist", copied)
        left = sorted(path.name for path in raw.iterdir())
    finally:
        (copied / file).rename(raw / file)
    assert message.endswith(f"put there what is missing: {file}") and str(raw) in message
    assert left == sorted(set(FILES) - {file})


def test_files_of_zeros_are_refused_with_the_name_and_left_alone(tmp_path, no_network):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in FILES:
        (raw / file).write_bytes(bytes(100))
    for fall_back in (False, True):  # damage is not absence: the embedded set does not step in
        message = refusal_of("mnist", tmp_path, fall_back=fall_back)
        assert all(f"{raw / file} is damaged" in message for file in FILES)
        assert {path.name: path.read_bytes() for path in raw.iterdir()} == dict.fromkeys(FILES, bytes(100))


@pytest.mark.parametrize(
    ("name", "below"), [("mnist", ""), ("mnist", "MNIST"), ("qmnist", ""), ("qmnist", "QMNIST/raw")]
)
def test_a_data_folder_that_is_a_file_is_refused_and_left_alone(tmp_path, name, below):
    file = tmp_path / "digits" / below
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    message = refusal_of(name, tmp_path / "digits", fall_back=True)
    assert message.startswith(f"{file} is a file, not a folder")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["", "MNIST", "mnist ", "cifar10"])
def test_an_unknown_data_set_is_refused_and_the_known_named(tmp_path, name):
    message = refusal_of(name, tmp_path / "digits")
    assert message == f"unknown data set '{name}'; there are mnist, qmnist, qmnist-writers, optdigits"


# No data and no network


@pytest.mark.parametrize("name", ["mnist", "qmnist"])
@pytest.mark.parametrize("validation", [False, True])
def test_without_data_and_network_the_embedded_set_steps_in_and_one_line_says_so(
    tmp_path, capsys, no_network, name, validation
):
    digits = data.load(name, tmp_path / "digits", validation=validation, fall_back=True)
    assert digits.name == "optdigits" and (digits.validation is not None) == validation
    downloading, said = capsys.readouterr().out.splitlines()
    assert downloading.endswith("; downloading it.")
    assert said.endswith(f"going on with optdigits, the embedded set: its numbers are not {name.upper()}'s.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "files"), [("mnist", FILES), ("qmnist", list(sources.QMNIST_FILES))])
def test_without_data_and_network_a_set_is_refused_naming_folder_and_files(tmp_path, no_network, name, files):
    message = refusal_of(name, tmp_path / "digits")
    assert str(tmp_path / "digits" / name.upper() / "raw") in message
    assert message.endswith(f"put there what is missing: {', '.join(files)}")
    assert list(tmp_path.iterdir()) == []


def test_the_variable_names_the_folder_unless_the_caller_does(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("DIGITS_DATA_DIR", str(tmp_path / "variable"))
    assert str(tmp_path / "variable" / "MNIST") in refusal_of("mnist", None)
    assert str(tmp_path / "caller" / "MNIST") in refusal_of("mnist", tmp_path / "caller")
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_set_needs_no_folder(tmp_path, no_network):
    digits = data.load("optdigits", tmp_path / "digits")
    assert len(digits.train.labels) == 1437 and set(digits.md5) == {"optdigits"}
    assert list(tmp_path.iterdir()) == []


def test_the_files_are_read_as_torchvision_reads_them(mnist):
    from torchvision.datasets import MNIST

    folder = os.environ.get("DIGITS_DATA_DIR") or "data"
    for split, train in ((mnist.train, True), (mnist.test, False)):
        theirs = MNIST(folder, train=train)
        assert torch.equal(split.images, theirs.data) and split.images.dtype == theirs.data.dtype
        assert torch.equal(split.labels, theirs.targets) and split.labels.dtype == theirs.targets.dtype


def test_files_that_are_there_are_read_without_importing_torchvision(mnist):
    program = "import sys; from digit_recognizer import data; data.load('mnist'); print('torchvision' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"
