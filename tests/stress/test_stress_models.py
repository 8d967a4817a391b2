"""Model files that are damaged, or that mean harm: refused in one line, or read as the very network they came from."""

import dataclasses
import functools
import io
import pickle
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

if sys.platform != "linux":
    pytest.skip("memory is measured as Linux counts it", allow_module_level=True)

import hostile
import stress

from digit_recognizer import checkpoints, evaluation, models, recipes, records, training
from digit_recognizer.runtime import model_file, provenance
from digit_recognizer.runtime.errors import UserError

MLP = dataclasses.replace(recipes.get("mlp_128_adam"), widths=(784, 16, 10), epochs=3)
CNN = recipes.get("cnn_in_seconds")
BARE = {"mean": 0.5, "std": 0.5}
IMAGES = torch.randint(0, 256, (20, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@dataclasses.dataclass
class Order:
    """Pickled, it is an order to make a folder, carried out by whoever unpickles it."""

    path: Path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


@pytest.fixture(scope="module")
def originals(tmp_path_factory, optdigits) -> Path:
    """A folder of good files of each kind, and of others with orders in them."""
    folder = tmp_path_factory.mktemp("originals")
    keep = functools.partial(checkpoints.save_progress, folder / "progress", MLP, "optdigits", 0)
    model, history = training.fit(models.build(MLP), optdigits, MLP, quiet=True, on_epoch=keep)
    scores = evaluation.score(evaluation.predict(model, optdigits.test.images), optdigits.test.labels)
    record = records.describe(MLP, optdigits, 0, model, history, scores)
    record["calibration"] = {"temperature": 1.5, "rejection_threshold": 0.3}
    checkpoints.save(folder / "recorded", model, MLP, record)
    checkpoints.save(folder / "mlp", models.build(MLP, seed=1), MLP, {})
    checkpoints.save(folder / "cnn", models.build(CNN), CNN, {})
    bare = {f"fc.{name}": value for name, value in models.build(MLP, seed=2).state_dict().items() if value.ndim}
    torch.save(bare, folder / "bare")
    torch.save(bare, folder / "older", _use_new_zipfile_serialization=False)
    order = {"format": 5, "state": bare, "record": Order(folder / "canary")}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (folder / f"order {protocol}").write_bytes(pickle.dumps({**order, "state": {}}, protocol))
    torch.save(order, folder / "order in an archive")
    torch.save(order, folder / "order of old", _use_new_zipfile_serialization=False)
    return folder


def rewritten(content: bytes, generator: np.random.Generator) -> bytes:
    """An archive with a part changed and all checksums of the archive right: only ours can tell."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(changed, "w") as copy:
        names = archive.namelist()
        numbers = [name for name in names if "/data/" in name]
        (pickled,) = (name for name in names if name.endswith("/data.pkl"))
        chosen = pickled if generator.random() < 0.5 else str(generator.choice(numbers))
        for name in names:
            part = archive.read(name)
            if name == chosen:
                part = hostile.flipped(part, generator)
                if name == pickled and generator.random() < 0.5:
                    part = hostile.mutated(archive.read(name), archive.read(name), generator)
            copy.writestr(name, part)
    return changed.getvalue()


def derived(number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """The name of an original, and what has become of it."""
    generator = np.random.default_rng(number)
    ours = [name for name in ("recorded", "mlp", "cnn", "progress") if name in files]
    if number % 3 == 0:
        name = str(generator.choice(ours))
        return name, rewritten(files[name], generator)
    names = sorted(files.keys() - {"older"})
    orders = [name for name in names if name.startswith("order")]
    name = str(generator.choice(orders if number % 10 == 1 else [name for name in names if name not in orders]))
    return name, hostile.mutated(files[name], files[str(generator.choice(names))], generator)


def seen(path: Path) -> tuple:
    """All that a file gives: weights bit for bit, answers, and what is said of them."""
    if path.name == "progress":
        return ("progress", model_file.checksum(checkpoints.load_progress(path, MLP, "optdigits", 0)))
    options = BARE if path.name in ("bare", "older") else {}
    loaded = checkpoints.load(path, **options)
    answers = model_file.checksum(evaluation.predict(loaded.model, IMAGES))
    return provenance.weights_hash(loaded.model), answers, loaded.recipe, loaded.record


def prepare(folder: Path) -> None:
    """In a worker: the originals, and what they give."""
    global _files, _expected, _place
    torch.set_num_threads(1)
    _files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    _expected = [seen(folder / name) for name in _files if not name.startswith("order")]
    _place = Path(tempfile.mkdtemp(dir=folder))


def attempt(number: int) -> str:
    """Read what a number makes of the originals."""
    name, content = derived(number, _files)
    (_place / name).write_bytes(content)
    return outcome(_place / name)


def outcome(path: Path) -> str:
    """What comes of reading a file: refused, unchanged, of older ones "changed"; anything else is raised."""
    name = path.name
    try:
        found = seen(path)
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error), str(error)
        return "refused by our checksum" if "its checksum is not" in str(error) else "refused"
    assert not name.startswith("order"), f"{name} was read"
    if found in _expected:
        return "unchanged"
    assert name == "older", f"{name} was read as something else"
    return "changed"


def attempt_older(number: int) -> str:
    """The same for files of PyTorch before 1.6, in which nothing tells what a number was."""
    (_place / "older").write_bytes(hostile.mutated(_files["older"], _files["bare"], np.random.default_rng(number)))
    return outcome(_place / "older")


def test_no_changed_file_is_read_as_if_it_were_good(originals):
    count = stress.count(60, 2000)
    figures = hostile.take_in(prepare, attempt, originals, range(count), workers=stress.count(1, 2))
    assert "changed" not in figures["outcomes"]
    assert figures["outcomes"]["refused by our checksum"] > 0.1 * count  # what nothing else would have noticed
    stress.keep("hostile models", figures | {"executions": 0})
    # PyTorch's older files have no checksum, but do no harm.
    hostile.take_in(prepare, attempt_older, originals, range(stress.count(20, 300)), workers=1)
    assert not (originals / "canary").exists()
    pickle.loads((originals / "order 2").read_bytes())
    assert (originals / "canary").is_dir()  # the orders were real
