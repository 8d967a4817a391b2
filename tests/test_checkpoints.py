"""Files of networks: there and back, older ones by others, and what is refused without being run."""

import errno
import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors
from torch import nn

from digit_recognizer import checkpoints, evaluation, models, recipes, records
from digit_recognizer.runtime import files, model_file, provenance
from digit_recognizer.runtime.errors import UserError

POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX only")
MNIST = {"mean": 0.1307, "std": 0.3081}


class CopiesAFile:
    """Pickled, it is an order to copy this test to a path, carried out by whoever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return shutil.copyfile, (__file__, str(self.path))


@pytest.fixture
def record(trained, optdigits, small_recipe) -> dict:
    scores = evaluation.score(evaluation.predict(trained[0], optdigits.test.images), optdigits.test.labels)
    return records.describe(small_recipe, optdigits, 0, *trained, scores)


@pytest.fixture
def saved(tmp_path, trained, small_recipe, record) -> Path:
    """A file of ours."""
    path = tmp_path / "model.pth"
    checkpoints.save(path, trained[0], small_recipe, record)
    return path


def refusal(path: Path, **options) -> str:
    """The one line with which a file is refused, without its path."""
    with pytest.raises(UserError) as caught:
        checkpoints.load(path, **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "")


def plain_types(value) -> set[type]:
    """The types of a value and of all in it."""
    inside = [*value.keys(), *value.values()] if isinstance(value, dict) else []
    inside = value if isinstance(value, list | tuple) else inside
    return {type(value)}.union(*map(plain_types, inside))


def bare(model: nn.Module, manner: str, first: int, step: int) -> dict[str, torch.Tensor]:
    """The linear layers' weights by the names that other projects give them."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    names = [manner.format(first + step * number) for number in range(len(layers))]
    pairs = zip(names, layers, strict=True)
    return {f"{name}.{part}": value for name, layer in pairs for part, value in layer.state_dict().items()}


def linear(*widths: int) -> dict[str, torch.Tensor]:
    return bare(models.MLP(widths), "fc{}", 1, 1)


def test_what_is_saved_is_what_is_loaded(saved, trained, optdigits, small_recipe, record):
    checkpoint = checkpoints.load(saved)
    assert provenance.weights_hash(checkpoint.model) == provenance.weights_hash(trained[0])
    assert provenance.weights_hash(checkpoint.model) != provenance.weights_hash(models.build(small_recipe))
    assert (checkpoint.recipe, checkpoint.record) == (small_recipe, record)
    images = optdigits.test.images
    assert torch.equal(evaluation.predict(checkpoint.model, images), evaluation.predict(trained[0], images))
    assert not checkpoint.model.training and not checkpoints.load_model(saved).training


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipes_network_is_rebuilt_from_its_file_alone(name, tmp_path, optdigits):
    recipe, images = recipes.get(name), optdigits.test.images[:20]
    model = models.build(recipe, seed=3)
    checkpoints.save(tmp_path / "model.pth", model, recipe, {})
    checkpoint = checkpoints.load(tmp_path / "model.pth")
    assert checkpoint.recipe == recipe
    assert str(checkpoint.model) == str(model)
    assert torch.equal(evaluation.predict(checkpoint.model, images), evaluation.predict(model, images))


def test_a_file_holds_plain_types_only(saved):
    content = torch.load(saved, weights_only=True)
    assert set(content) == {"format", "recipe", "state", "record", "checksum"}
    assert plain_types(content) <= {dict, list, tuple, str, int, float, bool, type(None), torch.Tensor}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_with_an_order_in_it_is_refused_and_not_run(protocol, tmp_path):
    made, path = tmp_path / "made", tmp_path / "model.pth"
    path.write_bytes(pickle.dumps({"format": 1, "state": CopiesAFile(made)}, protocol))
    assert "holds more than plain weights" in refusal(path)
    assert not made.exists()
    pickle.loads(path.read_bytes())
    assert made.exists()  # it was a real one


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrap", [lambda order: order, lambda order: {"format": 1, "record": order}], ids=["bare", "in"]
)
def test_an_order_in_a_torch_archive_is_refused_and_not_run(zipped, wrap, tmp_path):
    made, path = tmp_path / "made", tmp_path / "model.pth"
    torch.save(wrap(CopiesAFile(made)), path, _use_new_zipfile_serialization=zipped)
    assert "holds more than plain weights" in refusal(path)
    with pytest.raises(UserError, match="more than plain weights"):
        checkpoints.load_progress(path, recipes.get(), "mnist", 0)
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda path: torch.save(models.build(recipes.get("mlp_128_adam")), path), "a whole pickled model"),
        (
            lambda path: path.write_bytes(pickle.dumps(models.build(recipes.get("mlp_128_adam")))),
            "a whole pickled model",
        ),
        (lambda path: torch.jit.trace(nn.Linear(784, 10), torch.zeros(1, 784)).save(path), "a TorchScript program"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000)), "an HDF5 file, as Keras writes"),
        (lambda path: keras_archive(path), "a Keras model"),
        (lambda path: path.write_bytes(save_safetensors(linear(784, 10))), "a safetensors file"),
    ],
    ids=["torch.save", "pickle", "TorchScript", "h5", "keras", "safetensors"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch.jit
def test_what_other_programs_save_is_named_with_what_to_do(write, kind, tmp_path):
    write(tmp_path / "model.pth")
    said = refusal(tmp_path / "model.pth")
    assert kind in said and "torch.save(model.state_dict(), path)" in said


def keras_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")


def lightning_checkpoint(state: dict) -> dict:
    """The keys of a .ckpt file of Lightning 2, whose module keeps the network under `model`."""
    return {
        "epoch": 4, "global_step": 4690, "pytorch-lightning_version": "2.5.0",
        "state_dict": OrderedDict((f"model.{name}", value) for name, value in state.items()),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 5, "completed": 5}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": None, "best_model_path": "a.ckpt"}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(4690.0)}}, "param_groups": [{"betas": (0.9, 0.999)}]}],
        "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": {"learning_rate": 0.001},
    }  # fmt: skip


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: {"state_dict": state, "epoch": 5},
        lambda state: {"epoch": 5, "model_state_dict": state, "optimizer_state_dict": {"state": {}}, "loss": 0.1},
        lambda state: {"model": state, "args": {"batch_size": 64}},
        lightning_checkpoint,
    ],
    ids=["state_dict", "model_state_dict", "model", "Lightning"],
)
def test_a_checkpoint_that_nests_its_weights_is_read(nest, tmp_path, optdigits):
    model, images = models.MLP([784, 32, 10]), optdigits.test.images[:20]
    torch.save(nest(bare(model, "fc{}", 1, 1)), tmp_path / "model.ckpt")
    loaded = checkpoints.load_model(tmp_path / "model.ckpt", **MNIST)
    assert torch.equal(evaluation.predict(loaded, images), evaluation.predict(model, images))


@pytest.mark.parametrize("kept", [1, 4, 100, 5000, 0.5, 0.99, -1])
def test_a_truncated_file_is_refused(kept, saved):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert "is damaged" in refusal(saved)


@pytest.mark.parametrize("place", [0, 3, 0.25, 0.5, 0.75])
def test_a_file_with_a_flipped_byte_is_refused(place, saved):
    content = bytearray(saved.read_bytes())
    content[int(place * len(content)) if isinstance(place, float) else place] ^= 0xFF
    saved.write_bytes(content)
    assert "is damaged" in refusal(saved)


@pytest.mark.parametrize("content", [b"", b"a text\n", b"\0" * 999, b"PK\x03\x04" + b"\0" * 99, "ß".encode("utf-16")])
def test_files_of_other_kinds_are_refused(content, tmp_path):
    (tmp_path / "model.pth").write_bytes(content)
    assert "is not a model file" in refusal(tmp_path / "model.pth")


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert "cannot read" in refusal(tmp_path / "missing.pth")


@pytest.mark.parametrize("content", [[1, 2], 3, {}, {"epoch": 1}, torch.zeros(10, 784)], ids=str)
def test_plain_content_that_is_no_network_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "model.pth")
    assert "holds neither a network" in refusal(tmp_path / "model.pth", **MNIST)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("state", {"2.weight": torch.zeros(3, 3)}),
        ("state", {"2.weight": torch.zeros(128, 784, device="meta")}),
        ("state", {"9.weight": torch.zeros(1)}),
        ("recipe", {"widths": (784, 64, 10)}),
        ("recipe", {"widths": (784, 10**13, 10)}),
        ("recipe", {"widths": "784"}),
        ("recipe", {"published": {"fame": 1.0}}),
        ("recipe", {"surprise": 1}),
        ("recipe", {"epochs": -1}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_of_ours_whose_parts_do_not_fit_is_refused(part, change, saved):
    content = torch.load(saved, weights_only=True)
    content[part] |= change
    torch.save(content, saved)
    assert "is damaged" in refusal(saved)


@pytest.mark.parametrize("part", ["format", "recipe", "state", "record"])
def test_a_file_of_ours_with_a_wrong_or_missing_part_is_refused(part, saved):
    content = torch.load(saved, weights_only=True)
    for wrong in (None, [1], torch.zeros(2), "a\nb", 0):
        torch.save(content | {part: wrong}, saved)
        assert "is damaged" in refusal(saved)
    torch.save({name: value for name, value in content.items() if name != part}, saved)
    refusal(saved)


def test_a_file_of_a_newer_format_says_so(saved):
    content = torch.load(saved, weights_only=True)
    torch.save(content | {"format": model_file.FORMAT}, saved)
    assert checkpoints.load(saved).recipe is not None
    torch.save({"format": model_file.FORMAT + 1, "layers": []}, saved)
    assert "newer version" in refusal(saved)


@pytest.mark.parametrize(
    ("manner", "first", "step"),
    [("fc{}", 1, 1), ("layer_{}", 1, 1), ("{}", 0, 2), ("linear_relu_stack.{}", 0, 2), ("module.fc{}", 1, 1)],
)
@pytest.mark.parametrize("widths", [(784, 10), (784, 128, 64, 32, 10)], ids=str)
def test_published_state_dicts_are_read_whatever_their_names(manner, first, step, widths, tmp_path, optdigits):
    model, path = models.MLP(widths), tmp_path / "published.pth"
    torch.save(bare(model, manner, first, step), path)
    checkpoint = checkpoints.load(path, **MNIST)
    logits = evaluation.predict(checkpoint.model, optdigits.test.images)
    assert torch.equal(logits, evaluation.predict(model, optdigits.test.images))
    assert (checkpoint.recipe, checkpoint.record, checkpoint.model.training) == (None, None, False)
    other = checkpoints.load_model(path, mean=0.5, std=0.5)
    assert not torch.equal(evaluation.predict(other, optdigits.test.images), logits)


def test_a_published_module_in_pytorchs_older_file_format_is_read(tmp_path, optdigits):
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
    torch.save(module.state_dict(), tmp_path / "published.pth", _use_new_zipfile_serialization=False)
    model = checkpoints.load_model(tmp_path / "published.pth", mean=0.0, std=1.0)
    pixels = optdigits.test.images / 255
    assert torch.equal(evaluation.predict(model, optdigits.test.images), module(pixels).detach())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give --mean and --std"),
        ({"mean": 0.5}, "give --mean and --std"),
        ({"std": 0.5}, "give --mean and --std"),
        ({"mean": 0.5, "std": 0.0}, "--std must be greater than zero"),
        ({"mean": 0.5, "std": float("nan")}, "--std must be greater than zero"),
    ],
    ids=str,
)
def test_a_published_state_dict_needs_to_know_how_its_pixels_were_normalised(options, words, tmp_path):
    path = tmp_path / "published.pth"
    torch.save(linear(784, 16, 10), path)
    with pytest.raises(UserError, match=words) as caught:
        checkpoints.load(path, **options)
    assert "\n" not in str(caught.value)


def without(*names: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in linear(784, 16, 10).items() if name not in names}


@pytest.mark.parametrize(
    "state",
    [
        linear(100, 16, 10),
        linear(784, 16, 7),
        without("fc1.bias"),
        without("fc2.weight"),
        without("fc1.weight", "fc2.weight"),
        linear(784, 16, 10) | {"fc2.weight": torch.zeros(10, 15)},
        linear(784, 16, 10) | {"fc1.bias": torch.zeros(15)},
        linear(784, 16, 10) | {"conv1.weight": torch.zeros(8, 1, 3, 3), "conv1.bias": torch.zeros(8)},
        linear(784, 16, 10) | {"norm.count": torch.tensor(3)},
        {name: value.to(torch.int64) for name, value in linear(784, 16, 10).items()},
        dict(reversed(linear(784, 16, 10).items())),
        without() | {"fc1.weight": torch.zeros(0, 784), "fc1.bias": torch.zeros(0), "fc2.weight": torch.zeros(10, 0)},
    ],
    ids=[
        "inputs",
        "outputs",
        "bias",
        "weight",
        "weights",
        "chain",
        "size",
        "conv",
        "scalar",
        "int",
        "order",
        "0",
    ],
)
def test_what_is_no_chain_of_linear_layers_to_ten_digits_is_refused(state, tmp_path):
    torch.save(state, tmp_path / "published.pth")
    assert "is not a chain of linear layers" in refusal(tmp_path / "published.pth", **MNIST)


@POSIX
def test_the_old_network_survives_a_full_disk(saved):
    before = saved.read_bytes()
    script = f"""
import resource
from digit_recognizer import checkpoints, models, recipes
from digit_recognizer.runtime.errors import UserError
recipe = recipes.get()
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    checkpoints.save({str(saved)!r}, models.build(recipe), recipe, {{}})
except UserError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == f"cannot write {saved}: File too large; what was there before is unchanged\n"
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_file_is_written_with_its_folder_and_no_other_left(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"one", b"", b"three" * 100_000):
        files.write_atomically(path, content)
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_of_a_file_is_cleared_away_by_the_next_that_writes_it(tmp_path):
    names = (".file.killed", ".file.writing", ".files.other", "file.mine")
    for name in names:
        (tmp_path / name).write_bytes(b"a part")
    for name in set(names) - {".file.writing"}:
        os.utime(tmp_path / name, (0, 0))
    files.write_atomically(tmp_path / "file", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"file", *names[1:]}


@POSIX
@pytest.mark.parametrize(("mask", "permissions"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_files_permissions_follow_the_umask(mask, permissions, tmp_path):
    before = os.umask(mask)
    try:
        files.write_atomically(tmp_path / "file", b"text")
        assert os.umask(mask) == mask  # still
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == permissions


@POSIX
def test_a_reader_of_the_old_file_reads_on(tmp_path):
    (tmp_path / "file").write_bytes(b"the old content")
    with (tmp_path / "file").open("rb") as reader:
        assert reader.read(3) == b"the"
        files.write_atomically(tmp_path / "file", b"THE NEW CONTENT, longer")
        assert reader.read() == b" old content"
    assert (tmp_path / "file").read_bytes() == b"THE NEW CONTENT, longer"


@pytest.mark.parametrize(
    ("thrown", "caught"),
    [(OSError(errno.ENOSPC, "No space left"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_write_that_fails_leaves_the_old_file_alone(thrown, caught, tmp_path, monkeypatch):
    def fail(descriptor: int) -> None:
        raise thrown

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(caught):
        files.write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_path_under_a_file_cannot_be_written(tmp_path, trained, small_recipe):
    (tmp_path / "file").write_bytes(b"old")
    path = tmp_path / "file" / "model.pth"
    for attempt in (
        lambda: files.write_atomically(path, b"new"),
        lambda: checkpoints.save(path, trained[0], small_recipe, {}),
        lambda: files.check_writable(path.parent),
    ):
        with pytest.raises(UserError, match="cannot write") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_that_can_be_written_is_made_and_stays_empty(tmp_path):
    files.check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_progress_holds_plain_types_only(tmp_path, small_recipe):
    checkpoints.save_progress(tmp_path / "progress.pth", small_recipe, "optdigits", 0, {"epoch": 1})
    content = torch.load(io.BytesIO((tmp_path / "progress.pth").read_bytes()), weights_only=True)
    assert plain_types(content) <= {dict, list, tuple, str, int, float, bool, type(None)}


def test_a_record_comes_back_as_plain_types_even_where_numpy_numbers_went_in(trained, small_recipe, tmp_path):
    record = {"dataset": "optdigits", "accuracy": np.float64(0.5), "pair": (1, 2)}
    checkpoints.save(tmp_path / "model.pth", trained[0], small_recipe, record)
    assert checkpoints.load(tmp_path / "model.pth").record == {"dataset": "optdigits", "accuracy": 0.5, "pair": [1, 2]}
    with pytest.raises(TypeError):
        checkpoints.save(tmp_path / "model.pth", trained[0], small_recipe, {"path": tmp_path})
    assert checkpoints.load(tmp_path / "model.pth").record["accuracy"] == 0.5
