"""Which device, threads and precision a training gets. More of choose_device is tested in test_training.py."""

import dataclasses

import pytest
import torch

from digit_recognizer import models, recipes, records, training
from digit_recognizer.evaluation import Scores
from digit_recognizer.runtime import device, provenance

CPU = torch.device("cpu")


@pytest.fixture
def features(monkeypatch):
    """features(*names): this is a CPU with these features."""

    def set_features(*names: str) -> None:
        monkeypatch.setattr(device, "_cpu_features", lambda: set(names))
        device.computes_bfloat16.cache_clear()

    yield set_features
    monkeypatch.undo()
    device.computes_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("names", "computed"),
    [
        (("avx2", "avx512_bf16"), True), (("avx2", "amx_bf16"), True), (("asimd", "bf16"), True),
        (("avx2", "avx512f", "avx512_vnni"), False), ((), False),
    ],
    ids=str,
)  # fmt: skip
def test_bfloat16_is_for_processors_that_compute_it(features, names, computed):
    features(*names)
    assert device.computes_bfloat16("cpu") is computed
    assert device.training_precision("bfloat16", CPU) == ("bfloat16" if computed else "float32")
    assert device.training_precision("float32", CPU) == "float32"


def test_this_processor_is_known_as_linux_knows_it(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    names = device._cpu_features()
    monkeypatch.undo()
    if names:  # on Linux
        assert any("bf16" in name for name in names) is any("bf16" in name for name in device._cpu_features())


def test_without_it_a_recipe_trains_in_float32_and_its_record_says_so(features, optdigits, small_recipe):
    few = dataclasses.replace(optdigits, train=optdigits.train.take(torch.arange(256)))
    mixed = recipes.get("cnn_in_seconds", dataset="optdigits", batch_size=64)

    def weights(recipe: recipes.Recipe) -> str:
        return provenance.weights_hash(training.fit(models.build(recipe), few, recipe, quiet=True)[0])

    features("avx2")
    in_float32 = weights(dataclasses.replace(mixed, precision="float32"))
    assert weights(mixed) == in_float32
    record = records.describe(mixed, few, 0, models.build(mixed), [], Scores(1, 1, 0.0))
    assert (record["settings"]["precision"], record["made_with"]["training_precision"]) == ("bfloat16", "float32")
    features("avx512_bf16")
    assert weights(mixed) != in_float32
