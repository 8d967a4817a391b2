"""The networks against PyTorch's own layers and the published sizes."""

import itertools

import pytest
import torch
from facts import PARAMETERS
from torch import nn
from torchvision import transforms

from digit_recognizer import models, recipes


def random_pixels(count: int = 50) -> torch.Tensor:
    """Pixels in [0, 1], float32 (count, 1, 28, 28), always the same."""
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def by_hand(widths: tuple[int, ...], seed: int) -> nn.Sequential:
    """The network as anyone would write it, with PyTorch's default weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_network_has_as_many_parameters_as_published(name):
    recipe = recipes.get(name)
    assert models.parameter_count(models.build(recipe)) == recipe.parameter_count
    assert recipe.parameter_count == PARAMETERS.get(name, recipe.parameter_count)


@pytest.mark.parametrize(("mean", "std"), [(0.1307, 0.3081), (0.5, 0.5), (0.28, 0.35)])
def test_normalize_equals_torchvisions_bit_for_bit(mean, std):
    grays = (torch.arange(256, dtype=torch.float32) / 255).view(1, 1, 16, 16)
    ours, theirs = models.Normalize(mean, std), transforms.Normalize((mean,), (std,))
    for pixels in (grays, random_pixels()):
        assert torch.equal(ours(pixels), theirs(pixels))


def test_normalize_keeps_its_constants_in_the_saved_state_and_leaves_its_input_alone():
    layer, pixels = models.Normalize(0.1307, 0.3081), random_pixels()
    before = pixels.clone()
    layer(pixels)
    assert torch.equal(pixels, before)
    assert {name: value.item() for name, value in layer.state_dict().items()} == pytest.approx(
        {"mean": 0.1307, "deviation": 0.3081}
    )


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_weights_are_those_pytorch_draws_by_default(name, seed):
    recipe = recipes.get(name)
    ours = list(models.build(recipe, seed).parameters())
    theirs = list(by_hand(recipe.widths, seed).parameters())
    assert len(ours) == len(theirs) == 2 * (len(recipe.widths) - 1)
    assert all(torch.equal(our, their) for our, their in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_answers_are_those_of_the_network_written_by_hand(name):
    recipe = recipes.get(name)
    normalized = transforms.Normalize((recipe.mean,), (recipe.std,))(random_pixels())
    with torch.inference_mode():
        theirs = by_hand(recipe.widths, 0)(normalized)
        if recipe.output == "log_softmax":
            theirs = torch.log_softmax(theirs, 1)
        assert torch.equal(models.build(recipe)(random_pixels()), theirs)


def test_another_seed_gives_other_weights():
    first, second = (models.first_layer_weights(models.build(recipes.get(), seed)) for seed in (0, 1))
    assert not torch.equal(first, second)


def test_building_moves_no_generator(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.random.get_rng_state()
    models.build(recipes.get(), seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert seeded == []


def test_log_softmax_gives_probabilities_and_the_same_digits():
    recipe = recipes.get("mlp_128_64_32_adam_200ep")
    plain = models.build(recipes.get(recipe.name, output="logits"))
    with torch.inference_mode():
        logs, logits = models.build(recipe)(random_pixels()), plain(random_pixels())
    torch.testing.assert_close(logs.exp().sum(1), torch.ones(50))
    assert not torch.allclose(logits.exp().sum(1), torch.ones(50))
    assert torch.equal(logs.argmax(1), logits.argmax(1))


def test_logits_are_ten_for_each_digit_and_there_is_no_relu_after_the_last_layer():
    with torch.inference_mode():
        logits = models.build(recipes.get())(random_pixels())
    assert logits.shape == (50, 10) and logits.dtype == torch.float32
    assert logits.min() < 0


@pytest.mark.parametrize(("name", "units"), [("mlp_512_256_adam_5ep", 512), ("mlp_128_adam", 128)])
def test_the_first_weights_are_one_picture_of_28_by_28_pixels_a_unit(name, units):
    model = models.build(recipes.get(name))
    weights = models.first_layer_weights(model)
    assert weights.shape == (units, 28, 28) and not weights.requires_grad
    layer = next(layer for layer in model if isinstance(layer, nn.Linear))
    assert torch.equal(weights.flatten(1), layer.weight)


def test_the_first_weights_of_a_convolutional_network_are_its_kernels():
    model = models.build(recipes.get("cnn_in_seconds"))
    weights = models.first_layer_weights(model)
    assert weights.shape == (16, 6, 6)
    assert torch.equal(weights, model[1].weight.detach()[:, 0])


def convolutional_by_hand(seed: int) -> nn.Sequential:
    """cnn_in_seconds as anyone would write it, with PyTorch's default weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 16, 6, stride=2, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Flatten(), nn.Linear(576, 10),
        )  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
def test_a_convolutional_network_answers_as_the_one_written_by_hand(training):
    ours, theirs = models.build(recipes.get("cnn_in_seconds"), 3), convolutional_by_hand(3)
    ours.train(training), theirs.train(training)
    pixels = random_pixels()
    with torch.no_grad():
        answers = theirs(transforms.Normalize((0.1307,), (0.3081,))(pixels))
        torch.testing.assert_close(ours(pixels), answers, atol=1e-5, rtol=1e-5)


def test_batch_normalisation_comes_after_each_hidden_layer_of_a_fully_connected_network():
    model = models.build(recipes.get("mlp_128_adam", batch_norm=True))
    kinds = [type(layer).__name__ for layer in model]
    assert kinds == ["Normalize", "Flatten", "Linear", "BatchNorm1d", "ReLU", "Linear"]
