"""Files of networks: there and back, those of other programs, and what is refused without being run."""

import errno
import functools
import os
import pickle
import shutil
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
SMALL = recipes.get("mlp_128_adam")


class CopiesAFile:
    """Pickled, it is an order to copy this test to a path, carried out by whoever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return shutil.copyfile, (__file__, str(self.path))


@pytest.fixture(scope="module")
def record(trained, optdigits, small_recipe) -> dict:
    scores = evaluation.score(evaluation.predict(trained[0], optdigits.test.images), optdigits.test.labels)
    return records.describe(small_recipe, optdigits, 0, *trained, scores)


@pytest.fixture
def saved(tmp_path, trained, small_recipe, record) -> Path:
    """A file of ours."""
    checkpoints.save(tmp_path / "model.pth", trained[0], small_recipe, record)
    return tmp_path / "model.pth"


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


def bare(model: nn.Module, manner: str = "fc{}", first: int = 1, step: int = 1) -> dict[str, torch.Tensor]:
    """The linear layers' weights by the names that other projects give them."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    names = [manner.format(first + step * number) for number in range(len(layers))]
    pairs = zip(names, layers, strict=True)
    return {f"{name}.{part}": value for name, layer in pairs for part, value in layer.state_dict().items()}


def linear(*widths: int) -> dict[str, torch.Tensor]:
    return bare(models.MLP(widths))


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
    assert checkpoint.recipe == recipe and str(checkpoint.model) == str(model)
    assert torch.equal(evaluation.predict(checkpoint.model, images), evaluation.predict(model, images))


def test_files_hold_plain_types_only(saved, tmp_path, trained):
    content = torch.load(saved, weights_only=True)
    assert set(content) == {"format", "recipe", "state", "record", "checksum"}
    checkpoints.save_progress(tmp_path / "progress.pth", SMALL, "optdigits", 0, {"epoch": 1})
    both = [content, torch.load(tmp_path / "progress.pth", weights_only=True)]
    assert plain_types(both) <= {dict, list, tuple, str, int, float, bool, type(None), torch.Tensor}
    checkpoints.save(saved, trained[0], SMALL, {"accuracy": np.float64(0.5), "pair": (1, 2)})
    assert checkpoints.load(saved).record == {"accuracy": 0.5, "pair": [1, 2]}
    with pytest.raises(TypeError):
        checkpoints.save(saved, trained[0], SMALL, {"path": tmp_path})
    assert checkpoints.load(saved).record["accuracy"] == 0.5


def pickled(content, path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(content, protocol))


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    "write",
    [
        torch.save,
        functools.partial(torch.save, _use_new_zipfile_serialization=False),
        *(functools.partial(pickled, protocol=number) for number in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
    ids=["zip", "legacy", *(f"protocol {number}" for number in range(pickle.HIGHEST_PROTOCOL + 1))],
)
def test_an_order_in_a_file_is_refused_and_not_run(write, nested, tmp_path):
    made, path = tmp_path / "made", tmp_path / "model.pth"
    order = CopiesAFile(made)
    write({"format": 1, "record": order} if nested else order, path)
    assert "holds more than plain weights" in refusal(path)
    with pytest.raises(UserError, match="more than plain weights"):
        checkpoints.load_progress(path, recipes.get(), "mnist", 0)
    assert not made.exists()
    torch.load(path, weights_only=False) if "save" in str(write) else pickle.loads(path.read_bytes())
    assert made.exists()  # it was a real one


def keras_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda path: torch.save(models.build(SMALL), path), "a whole pickled model"),
        (lambda path: path.write_bytes(pickle.dumps(models.build(SMALL))), "a whole pickled model"),
        (lambda path: torch.jit.trace(nn.Linear(784, 10), torch.zeros(1, 784)).save(path), "a TorchScript program"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000)), "an HDF5 file, as Keras writes"),
        (keras_archive, "a Keras model"),
        (lambda path: path.write_bytes(save_safetensors(linear(784, 10))), "a safetensors file"),
    ],
    ids=["torch.save", "pickle", "TorchScript", "h5", "keras", "safetensors"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch.jit
def test_what_other_programs_save_is_named_with_what_to_do(write, kind, tmp_path):
    write(tmp_path / "model.pth")
    said = refusal(tmp_path / "model.pth")
    assert kind in said and "torch.save(model.state_dict(), path)" in said


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
    torch.save(nest(bare(model)), tmp_path / "model.ckpt")
    loaded = checkpoints.load_model(tmp_path / "model.ckpt", **MNIST)
    assert torch.equal(evaluation.predict(loaded, images), evaluation.predict(model, images))


def test_a_file_that_is_cut_or_has_a_byte_altered_is_refused(saved):
    content = saved.read_bytes()
    size = len(content)
    damaged = [content[:kept] for kept in (1, 4, 100, 5000, size // 2, size * 99 // 100, size - 1)]
    for place in (0, 3, size // 4, size // 2, size * 3 // 4):
        damaged.append(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
    for content in damaged:
        saved.write_bytes(content)
        assert "is damaged" in refusal(saved)


def test_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "model.pth"
    for content in (b"", b"a text\n", b"\0" * 999, b"PK\x03\x04" + b"\0" * 99, "ß".encode("utf-16")):
        path.write_bytes(content)
        assert "is not a model file" in refusal(path)
    for content in ([1, 2], 3, {}, {"epoch": 1}, torch.zeros(10, 784)):
        torch.save(content, path)
        assert "holds neither a network" in refusal(path, **MNIST)
    assert "is a folder" in refusal(tmp_path)
    assert "cannot read" in refusal(tmp_path / "missing.pth")


def test_a_file_of_ours_with_a_wrong_or_missing_part_is_refused(saved):
    content = torch.load(saved, weights_only=True)
    del content["checksum"]
    parts = {part: [None, [1], torch.zeros(2), "a\nb", 0] for part in ("format", "recipe", "state", "record")}
    for change in (
        {"2.weight": torch.zeros(3, 3)},
        {"2.bias": torch.zeros(128).double()},
        {"9.weight": torch.zeros(1)},
    ):
        parts["state"].append(content["state"] | change)
    for change in (
        {"widths": (784, 64, 10)}, {"widths": (784, 10**13, 10)}, {"widths": "784"}, {"published": {"fame": 1.0}},
        {"published": {"test_accuracy": "high"}},
        {"surprise": 1}, {"epochs": -1},
    ):  # fmt: skip
        parts["recipe"].append(content["recipe"] | change)
    for part, several in parts.items():
        for wrong in several:
            altered = content | {part: wrong}
            torch.save(altered | {"checksum": model_file.checksum(altered)}, saved)
            assert "is damaged" in refusal(saved), (part, wrong)
        torch.save({name: value for name, value in content.items() if name != part}, saved)
        refusal(saved)
    torch.save({"format": model_file.FORMAT + 1, "layers": []}, saved)
    assert "newer version" in refusal(saved)


@pytest.mark.parametrize(
    ("manner", "first", "step"),
    [("fc{}", 1, 1), ("layer_{}", 1, 1), ("{}", 0, 2), ("linear_relu_stack.{}", 0, 2), ("module.fc{}", 1, 1)],
)
@pytest.mark.parametrize("widths", [(784, 10), (784, 128, 64, 32, 10)], ids=str)
def test_published_state_dicts_are_read_whatever_their_names(manner, first, step, widths, tmp_path, optdigits):
    model, path, images = models.MLP(widths), tmp_path / "published.pth", optdigits.test.images
    torch.save(bare(model, manner, first, step), path, _use_new_zipfile_serialization=widths != (784, 10))
    checkpoint = checkpoints.load(path, **MNIST)
    logits = evaluation.predict(checkpoint.model, images)
    assert torch.equal(logits, evaluation.predict(model, images))
    assert (checkpoint.recipe, checkpoint.record, checkpoint.model.training) == (None, None, False)
    other = checkpoints.load_model(path, mean=0.5, std=0.5)
    assert not torch.equal(evaluation.predict(other, images), logits)


def test_a_published_state_dict_needs_to_know_how_its_pixels_were_normalised(tmp_path):
    torch.save(linear(784, 16, 10), tmp_path / "published.pth")
    for options in ({}, {"mean": 0.5}, {"std": 0.5}):
        assert "give --mean and --std" in refusal(tmp_path / "published.pth", **options)
    for std in (0.0, float("nan")):
        with pytest.raises(UserError, match=r"^--std must be greater than zero.*$"):
            checkpoints.load(tmp_path / "published.pth", mean=0.5, std=std)


def changed(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """A state dict of 784-16-10 with other tensors under these names, or none; _ stands for a point."""
    state = linear(784, 16, 10) | {name.replace("_", "."): value for name, value in changes.items()}
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    "state",
    [
        linear(100, 16, 10), linear(784, 16, 7),
        changed(fc1_bias=None), changed(fc2_weight=None), changed(fc1_weight=None, fc2_weight=None),
        changed(fc2_weight=torch.zeros(10, 15)), changed(fc1_bias=torch.zeros(15)),
        changed(conv1_weight=torch.zeros(8, 1, 3, 3), conv1_bias=torch.zeros(8)),
        changed(norm_count=torch.tensor(3)),
        {name: value.to(torch.int64) for name, value in linear(784, 16, 10).items()},
        dict(reversed(linear(784, 16, 10).items())),
        changed(fc1_weight=torch.zeros(0, 784), fc1_bias=torch.zeros(0), fc2_weight=torch.zeros(10, 0)),
    ],
    ids=["inputs", "outputs", "bias", "weight", "weights", "chain", "size", "conv", "scalar", "int", "order", "0"],
)  # fmt: skip
def test_what_is_no_chain_of_linear_layers_to_ten_digits_is_refused(state, tmp_path):
    torch.save(state, tmp_path / "published.pth")
    assert "is not a chain of linear layers" in refusal(tmp_path / "published.pth", **MNIST)


@POSIX
def test_the_old_network_survives_a_full_disk(saved, trained):
    import resource

    before, limits = saved.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UserError) as caught:
            checkpoints.save(saved, trained[0], SMALL, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value) == f"cannot write {saved}: File too large; what was there before is unchanged"
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_a_file_is_written_with_its_folder_and_no_other_left(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"one", b"", b"three" * 100_000):
        files.write_atomically(path, content)
        assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]
    files.check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


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
