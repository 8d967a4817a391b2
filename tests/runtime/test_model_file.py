"""A model file gets no more memory, time or depth than a model needs, and any change of its content is noticed."""

import functools
import io
import math
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from digit_recognizer import checkpoints, models, recipes
from digit_recognizer.runtime import model_file
from digit_recognizer.runtime.errors import UserError

RECIPE = recipes.get("mlp_128_adam")


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "model.pth"
    checkpoints.save(path, models.build(RECIPE), RECIPE, {"dataset": "mnist", "calibration": {"temperature": 2.0}})
    return path


def archived(content) -> bytes:
    """The bytes that torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


PLAIN = archived({"a": torch.zeros(3)})


def repacked(content: bytes, change=lambda name, part: (name, part), **options) -> bytes:
    """An archive packed again, with each entry changed and with checksums that fit."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", **options) as new:
        for name in old.namelist():
            new.writestr(*change(name, old.read(name)))
    return file.getvalue()


def with_pickle(pickled: bytes) -> bytes:
    """An archive of PyTorch's with another pickle."""
    return repacked(PLAIN, lambda name, part: (name, pickled if name.endswith("data.pkl") else part))


def with_names(change) -> bytes:
    """An archive of PyTorch's with other names of its entries."""
    return repacked(PLAIN, lambda name, part: (change(name), part))


def put(value) -> bytes:
    """The opcodes of a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def declared(numbers: int, start: int, shape: tuple, steps: tuple, kind: str = "FloatStorage") -> bytes:
    """A pickle that declares a tensor; its storage holds three float32 numbers."""
    name = b"".join([put("storage"), b"ctorch\n", kind.encode(), b"\n", put("0"), put("cpu"), put(numbers)])
    places = put(start) + put(shape) + put(steps)
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return b"\x80\x02}" + put("a") + function + b"((" + name + b"tQ" + places + b"\x89ccollections\nOrderedDict\n)RtRs."


def order(function: bytes, *arguments) -> bytes:
    """A pickle that calls a function."""
    return b"\x80\x02c" + function + b"\n" + put(arguments) + b"R."


def bombs() -> dict[str, bytes]:
    """Small files that ask for much memory, time or depth, or for a path outside of their folder."""
    deep = b"(" + b"\x85" * 999_000
    laughs = b"]" + b"".join(b"q" + bytes([level]) + b"](" + (b"h" + bytes([level])) * 10 + b"e" for level in range(18))
    many = b"".join(put(f"{number}") + b"K\x01" for number in range(300_000))
    return {
        "compressed": repacked(archived({"a": torch.zeros(5_000_000)}), compression=zipfile.ZIP_DEFLATED),
        "a path upwards": with_names(lambda name: name.replace("archive/data/", "archive/../../")),
        "an absolute path": with_names(lambda name: "/" + name),
        "a path of Windows": with_names(lambda name: name.replace("archive/data/", "archive\\data\\")),
        "a drive": with_names(lambda name: f"C:{name}"),
        "a name twice": with_names(lambda name: name.replace("byteorder", "DATA.PKL")),
        "something before the archive": PLAIN + PLAIN,
        "a hundred thousand parts": PLAIN[: PLAIN.rindex(b"PK\x05\x06")] + b"PK\x01\x02" * 100_000 + PLAIN,
        "more numbers than there are": with_pickle(declared(10**12, 0, (3,), (1,))),
        "a tensor of more than there are": with_pickle(declared(3, 0, (10**12,), (1,))),
        "one number, repeated": with_pickle(declared(3, 0, (10**6, 10**6), (0, 0))),
        "beyond the end": with_pickle(declared(3, 2, (2,), (1,))),
        "before the beginning": with_pickle(declared(3, 2, (2,), (-1,))),
        "negative sides": with_pickle(declared(3, 0, (-1, -3), (1, 1))),
        "a product that never ends": with_pickle(declared(3, 0, (2**31 - 1,) * 150_000, (0,) * 150_000)),
        "quantised": with_pickle(declared(12, 0, (3,), (1,), "QInt8Storage")),
        "older, more numbers than there are": older(declared(10**12, 0, (3,), (1,))),
        "older, without end": older(b"\x80\x02" + b"}" * 5_000_000),
        "sparse": archived({"a": torch.eye(3).to_sparse()}),
        "meta": archived({"a": torch.zeros(10**9, device="meta")}),
        "an order for memory": with_pickle(order(b"builtins\nbytearray", 10**11)),
        "an order for a tensor": with_pickle(order(b"torch\nTensor", 10**9, 100)),
        "an order for a storage": with_pickle(order(b"torch\nFloatStorage", 10**11)),
        "tuples in tuples": with_pickle(b"\x80\x02}" + deep + b"K\x01s."),
        "lists in lists": with_pickle(b"\x80\x02" + b"]" * 400_000 + b"a" * 399_999 + b"."),
        "lists of the same lists": with_pickle(b"\x80\x02" + laughs + b"."),
        "a list in itself": with_pickle(b"\x80\x02]q\0h\0a."),
        "more steps than a model needs": with_pickle(b"\x80\x02" + b"N" * 2_000_000 + b"."),
        "many words": with_pickle(b"\x80\x02}(" + many + b"u."),
        "far places": with_pickle(b"\x80\x02}r\xff\xff\xff\x7f."),
        "a long text that is cut": with_pickle(b"\x80\x02X\xff\xff\xff\x7fabc."),
        "framed": with_pickle(b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N."),
        "wide": archived(of_ours(widths=(784, 10**6, 10))),
        "many layers": archived(of_ours(widths=(784, *[1] * 100_000, 10))),
    }


def of_ours(**changes) -> dict:
    """The content of a file of ours, with a changed recipe and no weights."""
    recipe = vars(RECIPE) | {"published": {}, "augmentation": {}} | changes
    content = {"format": model_file.FORMAT, "recipe": recipe, "state": {}, "record": {}}
    return content | {"checksum": model_file.checksum(content)}


def older(pickled: bytes) -> bytes:
    """A file as PyTorch wrote them before 1.6, with another content."""
    file = io.BytesIO()
    torch.save({}, file, _use_new_zipfile_serialization=False)
    empty = b"\x80\x02}q\x00."
    assert file.getvalue().count(empty) == 1
    return file.getvalue().replace(empty, pickled)


def prepare(folder: Path) -> None:
    """Make the bombs, in a worker."""
    global _bombs, _folder
    _bombs, _folder = bombs(), folder
    torch.zeros(3).isfinite().all()


def attempt(number: int) -> str:
    """Read one of them. Returns its name if it is refused in one line."""
    name, content = list(_bombs.items())[number]
    path = _folder / "model.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged") as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)
    return name


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux counts it")
def test_bombs_are_refused_before_they_go_off(tmp_path):
    import hostile

    names = bombs().keys()
    figures = hostile.take_in(prepare, attempt, tmp_path, range(len(names)), workers=1)
    assert figures["outcomes"].keys() == names
    assert figures["most_megabytes"] < 300  # and each was refused before hostile.TIMEOUT


def test_correct_declarations_are_read(tmp_path):
    (tmp_path / "a").write_bytes(with_pickle(declared(3, 0, (3, 1), (1, 1))))
    assert torch.equal(model_file.read(tmp_path / "a")["a"], torch.zeros(3, 1))
    (tmp_path / "a").write_bytes(repacked(archived({"a": torch.ones(3)})))
    assert torch.equal(model_file.read(tmp_path / "a")["a"], torch.ones(3))


def refusal(path: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        checkpoints.load(path, **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_too_large_is_not_read(saved):
    with saved.open("r+b") as file:
        file.truncate(model_file.MAX_FILE_MB * 1_000_000 + 1)  # a hole: it takes no room
    assert f"more than {model_file.MAX_FILE_MB} megabytes" in refusal(saved)


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(model_file, "MAX_FILE_MB", 1)
    too_deep = functools.reduce(lambda inner, _: [inner], range(30), [])
    contents = {
        "more than 1 MB": torch.zeros(1_000_000), "more than 200,000 strings": [0] * 300_000,
        "containers nested too deeply": too_deep,
        "an object of the type set": {1}, "not dense": torch.eye(2).to_sparse(),
    }  # fmt: skip
    for words, content in contents.items():
        with pytest.raises(UserError, match=f"cannot write .*{words}"):
            model_file.write(tmp_path / "a", {"a": content})
    assert (tmp_path / "a").read_bytes() == b"old"


def changed_weights(name: str, part: bytes) -> tuple[str, bytes]:
    return name, part[:-1] + bytes([part[-1] ^ 1]) if name.endswith("data/2") else part


def changed_record(name: str, part: bytes) -> tuple[str, bytes]:
    return name, part.replace(struct.pack(">d", 2.0), struct.pack(">d", 3.0)) if name.endswith("data.pkl") else part


def test_a_change_that_the_archive_does_not_notice_is_noticed(saved):
    before, content = saved.read_bytes(), torch.load(saved, weights_only=True)
    saved.write_bytes(repacked(before))
    assert checkpoints.load(saved).recipe == RECIPE  # packing it again changes nothing
    for change in (changed_weights, changed_record):
        saved.write_bytes(repacked(before, change))
        assert saved.read_bytes() != repacked(before) and zipfile.ZipFile(saved).testzip() is None
        assert "its checksum is not that of its content" in refusal(saved)
    del content["checksum"]
    torch.save(content, saved)
    assert "its checksum is not that of its content" in refusal(saved)
    torch.save(content | {"format": model_file.FORMAT - 1}, saved)
    assert "an older version of this project" in refusal(saved)


def test_a_checksum_covers_structure_types_and_values():
    contents = [
        {}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}, {"b": 1}, {"a": 1, "b": 1}, {"a": {"b": 1}},
        {"a": [1]}, {"a": (1,)}, {"a": [1, 1]}, {"a": [[1], 1]}, {"a": [1, [1]]}, {1: "a"},
        {"a": torch.zeros(2)}, {"a": torch.zeros(2, 1)}, {"a": torch.zeros(2, dtype=torch.int32)},
        {"a": torch.tensor([0.0, -0.0])}, {"a": torch.tensor(0.0)}, {"a": torch.zeros(0)},
        {"a": torch.zeros(2, dtype=torch.bfloat16)},
    ]  # fmt: skip
    assert len({model_file.checksum(content) for content in contents}) == len(contents)
    columns = torch.arange(6.0).reshape(2, 3).t().contiguous().t()  # other strides, the same numbers
    assert model_file.checksum(OrderedDict(a=columns)) == model_file.checksum({"a": torch.arange(6.0).reshape(2, 3)})


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(wrong, tmp_path):
    model = models.build(RECIPE)
    model[2].weight.data[5, 5] = wrong
    checkpoints.save(tmp_path / "a.pth", model, RECIPE, {})
    assert "weights that are not finite" in refusal(tmp_path / "a.pth")
    torch.save({name: value for name, value in model.state_dict().items() if value.ndim}, tmp_path / "a.pth")
    assert "weights that are not finite" in refusal(tmp_path / "a.pth", mean=0.5, std=0.5)


def test_a_record_that_is_more_than_plain_lines_is_refused(saved):
    content = torch.load(saved, weights_only=True)
    for change in ({"dataset": "a\nb"}, {"dataset": "\x1b[2J"}, {"dataset": 1}, {"scores": torch.zeros(1)}):
        changed = {"recipe": content["recipe"], "state": content["state"], "record": content["record"] | change}
        model_file.write(saved, changed)
        assert "is damaged" in refusal(saved)


def test_damaged_progress_is_named_with_what_to_do(tmp_path):
    path, run = tmp_path / "progress.pth", (RECIPE, "mnist", 0)
    checkpoints.save_progress(path, *run, {"model": models.build(RECIPE).state_dict(), "history": []})
    good = path.read_bytes()
    for bad in (repacked(good, changed_weights), good[:-100], good[:1000] + good[2000:]):
        path.write_bytes(bad)
        with pytest.raises(UserError, match=r"is damaged.*delete this progress file and run without --resume"):
            checkpoints.load_progress(path, *run)
