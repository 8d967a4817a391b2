"""The digits: known counts, fixed splits, the batches and pixels of torch and torchvision, and the embedded set."""

import hashlib
import os
import subprocess
import sys

import pytest
import torch
from loopback import refusal_of
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms
from torchvision.datasets import MNIST

from digit_recognizer import data, models
from digit_recognizer.data import sources
from digit_recognizer.data.digits import SPLIT_SEED


def md5(labels: torch.Tensor) -> str:
    """The MD5 of int64 labels, so that a changed split cannot go unseen."""
    return hashlib.md5(labels.numpy().astype("<i8").tobytes(), usedforsecurity=False).hexdigest()


def centres(images: torch.Tensor) -> torch.Tensor:
    """Centres of mass, float64 (n, 2), as row and column. images: uint8 (n, 28, 28)."""
    pixels = images.double()
    steps = torch.arange(28, dtype=torch.float64)
    return torch.stack([pixels.sum(2) @ steps, pixels.sum(1) @ steps], 1) / pixels.sum((1, 2)).unsqueeze(1)


def longest_sides(images: torch.Tensor) -> torch.Tensor:
    """The longer side of each digit's bounding box, in pixels: int64 (n,)."""
    sides = []
    for axis in (1, 2):
        occupied = images.amax(axis).bool().int()
        sides.append(28 - occupied.argmax(1) - occupied.flip(1).argmax(1))
    return torch.stack(sides).amax(0)


def rows_of(split: data.Split) -> list[bytes]:
    """Each digit with its label as bytes, sorted, to compare sets of digits."""
    pairs = zip(split.images.numpy(), split.labels.tolist(), strict=True)
    return sorted(image.tobytes() + bytes([label]) for image, label in pairs)


def test_mnist_has_its_known_counts_and_is_read_as_torchvision_reads_it(mnist):
    assert (mnist.name, mnist.title, mnist.validation, mnist.md5) == ("mnist", "MNIST", None, sources.MNIST_MD5)
    assert mnist.train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for split, train in ((mnist.train, True), (mnist.test, False)):
        expected = MNIST(os.environ.get("DIGITS_DATA_DIR") or "data", train=train)
        assert torch.equal(split.images, expected.data) and split.images.dtype == torch.uint8
        assert torch.equal(split.labels, expected.targets) and split.labels.dtype == torch.int64


def test_mnists_mean_and_std_are_those_everyone_normalises_with(mnist):
    pixels = torch.arange(256, dtype=torch.float64) / 255
    share = mnist.train.images.flatten().bincount().double() / mnist.train.images.numel()
    mean = share @ pixels
    std = (share @ (pixels - mean) ** 2).sqrt()
    assert (round(mean.item(), 4), round(std.item(), 4)) == (0.1307, 0.3081)


def test_optdigits_are_scikit_learns_scans_in_mnists_format(optdigits):
    """20 pixels long, with their centre of mass in the middle."""
    assert (optdigits.name, optdigits.title, optdigits.validation) == ("optdigits", "optdigits", None)
    labels = torch.cat([optdigits.train.labels, optdigits.test.labels])
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    assert labels.tolist() == load_digits().target[order].tolist()
    for split in (optdigits.train, optdigits.test):
        assert (longest_sides(split.images) == 20).all()
        assert (centres(split.images) - 14).abs().max() < 0.6
        assert split.images.dtype == torch.uint8 and split.labels.dtype == torch.int64
        assert 0 < split.images.float().mean() < 100

    assert (len(optdigits.train.labels), len(optdigits.test.labels)) == (1437, 360)
    assert md5(optdigits.train.labels) == "654bab9524652c39419479a90268c89c"
    assert md5(optdigits.test.labels) == "216e3c127f47781be22c11e4829ec4a3"


@pytest.mark.parametrize(
    ("name", "sizes", "expected"),
    [
        ("mnist", (55_000, 5_000), "d7d241b8245dcebe72c760886b0f2dae"),
        ("optdigits", (1318, 119), "c3189cc728673efb0a3f5e8f424aac54"),
    ],
)
def test_the_validation_split_is_fixed_disjoint_and_complete(request, name, sizes, expected):
    whole, split = request.getfixturevalue(name), data.load(name, validation=True)
    assert (len(split.train.labels), len(split.validation.labels)) == sizes
    assert md5(split.validation.labels) == expected
    assert rows_of(whole.train) == sorted(rows_of(split.train) + rows_of(split.validation))
    assert torch.equal(whole.test.images, split.test.images)
    assert whole.held_out == ("test", whole.test)
    assert split.held_out == ("validation", split.validation)


@pytest.mark.parametrize("seed", [0, 42])
@pytest.mark.parametrize(("count", "batch_size"), [(1437, 64), (128, 64), (10, 64), (5, 2)])
def test_three_epochs_of_batches_equal_the_data_loaders_draw_for_draw(optdigits, seed, count, batch_size):
    split = optdigits.train.take(torch.arange(count))
    ours, theirs = (torch.Generator().manual_seed(seed) for _ in range(2))
    loader = DataLoader(TensorDataset(*split), shuffle=True, batch_size=batch_size, generator=theirs)
    for _ in range(3):
        for batch, (images, labels) in zip(data.batches(split, batch_size, ours), loader, strict=True):
            assert torch.equal(batch.images, images) and torch.equal(batch.labels, labels)
        assert torch.equal(ours.get_state(), theirs.get_state())


def test_an_epoch_has_every_digit_once_in_an_order_of_its_own_and_keeps_the_last_smaller_batch(optdigits):
    before, generator = torch.random.get_rng_state(), torch.Generator().manual_seed(0)
    first, second = (list(data.batches(optdigits.train, 64, generator)) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)  # no other generator is used
    assert [len(batch.labels) for batch in first] == [64] * 22 + [29]
    first, second = (data.Split(*map(torch.cat, zip(*epoch, strict=True))) for epoch in (first, second))
    assert rows_of(first) == rows_of(second) == rows_of(optdigits.train)
    assert not torch.equal(first.labels, second.labels) and not torch.equal(first.labels, optdigits.train.labels)


@pytest.mark.parametrize(("mean", "std"), [(0.1307, 0.3081), (0.5, 0.5)])
def test_pixels_equal_to_tensor_and_normalize_bit_for_bit(optdigits, mean, std):
    grays = torch.arange(28 * 28).remainder(256).to(torch.uint8).view(1, 28, 28)
    images = torch.cat([grays, optdigits.test.images])
    published_way = transforms.Compose([transforms.ToTensor(), transforms.Normalize((mean,), (std,))])
    theirs = torch.stack([published_way(Image.fromarray(image.numpy())) for image in images])
    assert theirs.shape == (361, 1, 28, 28)
    pixels = data.to_pixels(images)
    assert torch.equal(models.Normalize(mean, std)(pixels), theirs)
    assert (pixels.min(), pixels.max(), pixels.dtype) == (0, 1, torch.float32)


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


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize(("name", "files"), [("mnist", sources.MNIST_MD5), ("qmnist", sources.QMNIST_FILES)])
def test_without_data_and_network_a_set_is_refused_or_replaced_by_the_embedded_set(
    tmp_path, capsys, no_network, name, files, validation
):
    message = refusal_of(name, tmp_path / "digits", validation=validation)
    assert str(tmp_path / "digits" / name.upper() / "raw") in message and message.endswith(f": {', '.join(files)}")
    capsys.readouterr()
    digits = data.load(name, tmp_path / "digits", validation=validation, fall_back=True)
    assert digits.name == "optdigits" and (digits.validation is not None) == validation
    assert set(digits.md5) == {"optdigits"}
    downloading, said = capsys.readouterr().out.splitlines()
    assert downloading.endswith("; downloading it.")
    assert said.endswith(f"using optdigits, the embedded set: its numbers are not {name.upper()}'s.")
    assert list(tmp_path.iterdir()) == []


def test_the_variable_names_the_folder_unless_the_caller_does(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("DIGITS_DATA_DIR", str(tmp_path / "variable"))
    assert str(tmp_path / "variable" / "MNIST") in refusal_of("mnist", None)
    assert str(tmp_path / "caller" / "MNIST") in refusal_of("mnist", tmp_path / "caller")


def test_files_on_disk_are_read_without_importing_torchvision_or_pooch(mnist):
    program = "import sys; from digit_recognizer import data; data.load('mnist'); print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert "torch" in modules and not {"torchvision", "pooch"} & {*modules}
