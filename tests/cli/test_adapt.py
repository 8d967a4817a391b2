"""digits adapt: from a folder of labelled pictures to a network, and one line for each bad folder."""

import re
import shutil

import pytest
from drawings import drawing
from PIL import Image

from benchmarks.trials import drawn_hand
from digit_recognizer.cli import main
from digit_recognizer.recognition import adaptation, last_layer


@pytest.fixture
def no_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGITS_DATA_DIR", str(tmp_path / "nothing"))


@pytest.mark.usefixtures("no_mnist", "no_network")
def test_a_folder_becomes_a_network_that_reads(tmp_path, command):
    folder = drawn_hand.save(tmp_path / "mine", 5, seed=1)
    Image.new("L", (90, 90), 255).save(folder / "3_blank.png")
    (folder / "4_damaged.png").write_text("no picture")
    status, out, error = command("adapt", folder, "--out", tmp_path / "mine.pth")
    assert status == 0, error
    assert "MNIST is not on disk" in out and "your digits" in out and "wrote " in out
    assert "3_blank.png is left out: blank" in error and "4_damaged.png" in error
    unseen = drawn_hand.save(tmp_path / "unseen", 3, seed=3)
    before, after = (
        int(re.search(r"(\d+) of 12 right", command("predict", unseen, *model)[1])[1])
        for model in ((), ("--model", tmp_path / "mine.pth"))
    )
    assert before < 9 and after >= 11
    assert "360 test digits" in command("evaluate", tmp_path / "mine.pth")[1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "there are no pictures in"),
        (["a.png", "b.png"], "has no label; begin the names with the digit"),
        (["7_a.png", "b.png"], "b.png has no label"),
        (["1_a.png", "7_a.png", "7_b.png"], "too few pictures to learn from: 3, and 10 are the least"),
        ([f"7_{number}.png" for number in range(12)], "all 12 pictures are labelled 7"),
    ],
)
def test_a_folder_that_teaches_nothing_gets_one_line(names, message, tmp_path, command):
    (tmp_path / "mine").mkdir()
    for name in names:
        drawing(7).save(tmp_path / "mine" / name)
    status, out, error = command("adapt", tmp_path / "mine", "--out", tmp_path / "mine.pth")
    assert (status, out, len(error.splitlines())) == (2, "", 1)
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "mine.pth").exists()


def test_what_is_no_folder_a_number_and_a_folder_as_file_get_one_line(tmp_path, command):
    drawing(7).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,77\n")
    for arguments, message in (
        ((tmp_path / "a.png", "--out", "mine.pth"), "is not a folder"),
        ((tmp_path, "--out", "mine.pth"), "is labelled 77"),
        ((tmp_path, "--out", tmp_path), "is a folder, or not an ordinary file; give --out the name of a file"),
        ((tmp_path, "--out", "/dev/null"), "is a folder, or not an ordinary file"),
    ):
        status, _, error = command("adapt", *arguments)
        assert (status, len(error.splitlines())) == (2, 1) and message in error


def test_a_folder_that_vanishes_gets_one_line(tmp_path, command, monkeypatch):
    folder, take_digits = drawn_hand.save(tmp_path / "mine", 5, seed=1), adaptation.take_digits
    monkeypatch.setattr(adaptation, "take_digits", lambda *given: (shutil.rmtree(folder), take_digits(*given))[1])
    status, out, error = command("adapt", folder, "--out", tmp_path / "mine.pth")
    assert (status, out) == (2, "") and error == f"error: {folder} is no longer there; start again once it is\n"


@pytest.mark.usefixtures("no_mnist", "no_network")
def test_swapped_labels_are_named_and_many_are_not_learned_from(tmp_path, command, monkeypatch, optdigits):
    monkeypatch.setattr(last_layer, "STEPS", 20)
    monkeypatch.setattr(last_layer, "FOLDS", 3)
    folder, swapped = tmp_path / "mine", set()
    folder.mkdir()
    for number, (image, label) in enumerate(
        zip(optdigits.test.images[:60], optdigits.test.labels.tolist(), strict=False)
    ):
        name = f"{(label + (number < 6)) % 10}_{number:02}.png"
        Image.fromarray(image.numpy()).resize((140, 140)).save(folder / name)
        swapped |= {name} if number < 6 else set()
    found = re.compile(r"mine/(\d_\d+\.png) is labelled \d and looks like \d")
    status, out, error = command("adapt", folder, "--out", tmp_path / "mine.pth")
    assert (status, error) == (0, "") and out.count("; left out\n") == len(found.findall(out)) >= 5
    assert set(found.findall(out)) <= swapped and "--trust-labels" in out

    monkeypatch.setattr(adaptation, "MAX_SUSPECTS", 0.05)
    status, out, error = command("adapt", folder, "--out", tmp_path / "other.pth")
    *named, last = error.splitlines()
    assert (status, out) == (2, "") and set(found.findall(error)) <= swapped and len(named) >= 5
    assert last.startswith(f"error: {len(named)} of 60 pictures look like another digit") and "--trust-labels" in last
    assert not (tmp_path / "other.pth").exists()


@pytest.mark.usefixtures("no_mnist", "no_network")
@pytest.mark.parametrize(("ending", "status"), [(KeyboardInterrupt, 130), (None, 1)])
def test_a_stopped_run_and_a_worse_network_leave_the_old_file(ending, status, tmp_path, command, monkeypatch):
    folder = drawn_hand.save(tmp_path / "mine", 5, seed=1)
    (tmp_path / "mine.pth").write_bytes(b"the old one")
    monkeypatch.setattr(last_layer, "STEPS", 5)
    if ending is None:
        monkeypatch.setattr(adaptation.Comparison, "is_worse", True)
    else:
        monkeypatch.setattr(main.adapt, "_report", lambda *_: (_ for _ in ()).throw(ending))
    assert command("adapt", folder, "--trust-labels", "--out", tmp_path / "mine.pth")[0] == status
    assert (tmp_path / "mine.pth").read_bytes() == b"the old one"
