"""Which device, threads and precision a training gets."""

import dataclasses

import pytest
import torch

from digit_recognizer import models, recipes, records, training
from digit_recognizer.evaluation import Scores
from digit_recognizer.runtime import device, provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def accelerators(monkeypatch):
    """accelerators(cuda, mps): whether this machine has them."""

    def set_accelerators(cuda: bool, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return set_accelerators


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_automatic_device_is_cuda_then_mps_then_the_cpu(cuda, mps, chosen, accelerators):
    accelerators(cuda, mps)
    assert choose_device("auto") == torch.device(chosen)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "threads", "words"),
    [
        ("gpu", 1, "unknown device 'gpu'; there are auto, cuda, mps, cpu"),
        ("cuda", 1, "this machine has no cuda"),
        ("mps", 1, "this machine has no mps"),
        ("auto", -3, "threads must be at least 1"),
        ("cpu", 10**30, "threads must be at least 1"),
    ],
)
def test_a_device_that_is_unknown_or_not_there_is_refused(name, threads, words, accelerators):
    accelerators(cuda=False, mps=False)
    with pytest.raises(UserError, match=rf"^{words}[^\n]*$"):
        choose_device(name, threads)


def test_threads_are_set_and_denormals_flushed():
    before, tiny = torch.get_num_threads(), torch.full((3,), 1e-30)
    assert (tiny * 1e-10).all()
    try:
        choose_device("cpu", threads=before + 1)
        assert torch.get_num_threads() == before + 1 and not (tiny * 1e-10).any()
    finally:
        torch.set_num_threads(before)


def test_matmuls_are_float32s_and_quicker_kernels_that_are_not_are_left_alone(monkeypatch):
    choose_device("cpu", 1)
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(64, 784, generator=generator), torch.randn(784, 512, generator=generator)
    assert ((left @ right).double() - left.double() @ right.double()).abs().max() < 0.001
    asked, exact = [], torch.Tensor.__matmul__
    monkeypatch.setattr(torch, "set_float32_matmul_precision", asked.append)
    rounded = lambda value: value.bfloat16().to(value.dtype) if value.dtype == torch.float32 else value  # noqa: E731
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda left, right: exact(rounded(left), rounded(right)))
    choose_device("cpu", 1)
    assert asked[-1] == "highest"


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
