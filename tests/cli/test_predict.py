"""digits predict: files, folders, patterns, labels, JSON, figures, and one line for each error."""

import json
from unittest import mock

import numpy as np
import pytest
from drawings import STROKES, drawing
from PIL import Image

from digit_recognizer.cli import answers, labelled_files
from digit_recognizer.preprocessing import image_io, page
from digit_recognizer.recognition import page_reading
from digit_recognizer.runtime.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """Four drawings, named after what they show."""
    for digit in STROKES:
        drawing(digit).save(tmp_path / f"{digit}_a.png")
    return tmp_path


def test_a_line_for_each_picture(folder, command):
    status, out, error = command("predict", folder / "1_a.png", folder / "7_a.png")
    assert (status, error) == (0, "")
    lines = out.splitlines()
    assert [line.split()[1] for line in lines] == ["1", "7"]
    assert "#####" in lines[0] and "%" in lines[0] and " or " not in out


@pytest.mark.parametrize(
    ("flags", "end"), [([], " 54.0%  or 9 (44.0%)"), (["--number"], "% sure of all  #1: 5 or 9 (44.0%)")]
)
def test_a_doubt_between_two_digits_is_said(flags, end, folder, command, doubtful, monkeypatch):
    monkeypatch.setattr(answers, "_load", lambda *_: doubtful)
    monkeypatch.setattr(page_reading, "WEIGHT", 1)  # PageNet, which sees a 1, has no say
    assert f"{end}  (dark on light, inverted" in command("predict", *flags, folder / "1_a.png")[1]
    fields = json.loads(command("predict", *flags, "--json", folder / "1_a.png")[1])
    (digit,) = fields["digits"] if flags else [fields]
    assert (digit["digit"], digit["alternatives"], round(digit["confidence"], 2)) == (5, [9], 0.54)


def test_pictures_are_scored_by_their_names_or_a_table(folder, command):
    drawing(7).save(folder / "one_wrong.png")
    status, out, _ = command("predict", folder)
    assert status == 0
    assert "4 of 5 right: 80.00%" in out and "1 read as 7: one_wrong.png" in out
    (folder / "labels.csv").write_text("file,label\n0_a.png,0\n4_a.png,9\n")
    _, out, _ = command("predict", folder)
    assert "1 of 2 right: 50.00%" in out and "9 read as 4: 4_a.png" in out


def test_a_pattern_matches_files_and_folders(folder, command):
    (folder / "more").mkdir()
    drawing(7).save(folder / "more" / "7.png")
    status, out, _ = command("predict", folder / "[17]_*.png")
    assert status == 0 and len(out.splitlines()) == 2
    status, out, _ = command("predict", folder / "mor*")
    assert status == 0 and "1 of 1 right" in out


def test_json_has_an_object_a_line(folder, command):
    Image.new("L", (300, 90), 255).save(folder / "blank.png")
    _, out, _ = command("predict", "--json", folder / "4_a.png", folder / "blank.png")
    four, blank = map(json.loads, out.splitlines())
    assert list(four) == ["file", "digit", "alternatives", "confidence", "probabilities", "reason", "warnings"]
    assert (four["digit"], four["reason"]) == (4, None)
    assert len(four["probabilities"]) == 10 and max(four["probabilities"]) == four["confidence"]
    assert (blank["digit"], blank["alternatives"], blank["reason"]) == (None, [], "blank")


def test_a_number_is_read_with_its_boxes(tmp_path, command):
    sheet = Image.new("L", (600, 200), 255)
    for place, digit in enumerate((7, 0, 4)):
        sheet.paste(drawing(digit), (200 * place, 0))
    sheet.save(tmp_path / "row.png")
    Image.new("L", (300, 90), 255).save(tmp_path / "blank.png")
    lines = command("predict", "--number", tmp_path / "row.png", tmp_path / "blank.png")[1].splitlines()
    assert lines[0].split()[1] == "704" and lines[1].endswith("-  blank")
    row, blank = map(
        json.loads, command("predict", "--number", "--json", *sorted(tmp_path.iterdir()))[1].splitlines()[::-1]
    )
    fields = ["file", "number", "reason", "boxes", "rows", "numbers", "confidence", "digits", "warnings"]
    assert list(row) == fields and 0.5 < row["confidence"] <= 1
    assert (row["numbers"], blank["numbers"]) == ([["704"]], [])
    assert (row["number"], row["rows"], [len(box) for box in row["boxes"]]) == ("704", ["704"], [4, 4, 4])
    assert (blank["number"], blank["reason"], blank["boxes"]) == ("", "blank", [])


@pytest.mark.parametrize("flags", [[], ["--number"]])
def test_show_draws_how_each_was_read_and_decodes_it_once(flags, folder, tmp_path, command):
    with (
        mock.patch.object(image_io, "read", wraps=image_io.read) as read,
        mock.patch.object(page, "binarize", wraps=page.binarize) as binarize,
    ):
        command("predict", *flags, "--show", tmp_path / "shown", folder / "4_a.png", folder / "0_a.png")
    assert read.call_count == binarize.call_count == 2
    shown = sorted((tmp_path / "shown").iterdir())
    assert [path.name for path in shown] == ["0001_4_a.png", "0002_0_a.png"]
    assert np.asarray(Image.open(shown[0])).std() > 10


@pytest.mark.parametrize("flags", [[], ["--number"]])
@pytest.mark.parametrize(("digit", "kind"), [(4, "TIFF"), (None, "TIFF"), (4, "GIF")])
def test_several_pages_or_frames_are_a_warning(digit, kind, flags, tmp_path, command):
    first = drawing(digit) if digit else Image.new("L", (200, 200), 255)
    first.save(tmp_path / "pages", kind, save_all=True, append_images=[drawing(7), drawing(0)])
    warning = "the first of several frames was read"
    assert warning in command("predict", *flags, tmp_path / "pages")[1]
    assert warning in json.loads(command("predict", *flags, "--json", tmp_path / "pages")[1])["warnings"]


def test_an_unreadable_file_does_not_stop_the_others_and_counts_as_wrong(folder, command):
    for name in ("5_broken.png", "9_broken.png"):
        (folder / name).write_bytes(b"no picture")
    status, out, error = command("predict", folder)
    assert status == 1
    assert (len([line for line in out.splitlines() if ".png  " in line]), error.count("\n")) == (4, 2)
    assert "5_broken.png is not a picture" in error
    assert "4 of 6 right: 66.67%\n2 could not be read: 5_broken.png, 9_broken.png\n" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.png"], "No such file"),
        (["text.png"], "is not a picture"),
        (["empty"], "there are no pictures in"),
        (["*.tiff"], "no file matches"),
        (["a**b"], "is not a valid pattern"),
        (["4_a.png", "--model", "text.png"], "is not a model file"),
        (["4_a.png", "--mean", "0.5", "--std", "0.5"], "leave out --mean and --std"),
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_used_is_one_line(arguments, words, folder, command, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "text.png").write_text("seven")
    (folder / "empty").mkdir()
    status, out, error = command("predict", *arguments)
    assert (status, out, error.count("\n")) == (2, "", 1) and words in error


def test_odd_names_are_printed_and_drawn(folder, command):
    for name in ("7_$\\frac$.png", "7_\n\x1b[2J数.png"):
        drawing(7).save(folder / name)
    status, out, error = command("predict", folder, "--show", folder / "shown")
    assert (status, error) == (0, "")
    assert "6 of 6 right" in out and len(out.splitlines()) == 7 and "\x1b" not in out
    assert len(list((folder / "shown").iterdir())) == 6


@pytest.mark.parametrize(
    ("names", "labels"),
    [(["7_a.png", "three.jpg", "0.png"], ["0", "7", "3"]), (["7_a.png", "IMG_1.png"], [None, None]),
     (["1.png", "12.png"], [None, None])],
)  # fmt: skip
def test_labels_in_names(names, labels, tmp_path):
    for name in names:
        (tmp_path / name).touch()
    found = labelled_files.collect([tmp_path / "*.png", tmp_path, tmp_path / names[1]])  # some are given twice
    assert len(found) == len(names)
    assert {picture.path.name: picture.label for picture in found} == dict(zip(sorted(names), labels, strict=True))


def test_a_folder_with_one_unlabelled_picture_says_why_it_is_not_scored(folder, command):
    drawing(7).save(folder / "photo.png")
    status, out, error = command("predict", folder)
    assert (status, len(out.splitlines())) == (0, 5) and "right" not in out
    assert error == f"{folder} is not scored: photo.png does not begin with a digit or its English name\n"
    assert command("predict", folder / "4_a.png", folder / "photo.png")[2] == ""  # nobody asked for a score
    for path in folder.glob("?_?.png"):
        path.unlink()
    assert command("predict", folder)[2] == ""


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "file,label\nx.png,seven\n", "file,label\nx.png\n", "\x00"])
def test_an_invalid_table_is_an_error(text, tmp_path):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=r"labels\.csv"):
        labelled_files.collect([tmp_path])
