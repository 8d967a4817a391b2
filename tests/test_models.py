"""The networks against PyTorch's own layers and the published sizes."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from facts import PARAMETERS
from torch import nn
from torchvision import transforms

from digit_recognizer import models, recipes
from digit_recognizer.recipes.recipe import Convolution

PIXELS = torch.rand(50, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def written_by_hand(recipe: recipes.Recipe, seed: int) -> nn.Sequential:
    """The network as anyone would write it, with PyTorch's default weights; of the convolutional ones, one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if recipe.name == "cnn_in_seconds":
            return nn.Sequential(
                nn.Conv2d(1, 16, 6, stride=2, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(16), nn.ReLU(),
                nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
                nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(64), nn.ReLU(),
                nn.Flatten(), nn.Linear(576, 10),
            )  # fmt: skip
        layers = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise(recipe.widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_network_has_as_many_parameters_as_published(name):
    recipe = recipes.get(name)
    assert models.parameter_count(models.build(recipe)) == recipe.parameter_count
    assert recipe.parameter_count == PARAMETERS.get(name, recipe.parameter_count)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("name", [*PARAMETERS, "cnn_in_seconds"])
def test_weights_and_logits_are_those_of_the_network_written_by_hand(name, seed):
    recipe = recipes.get(name)
    ours, theirs = models.build(recipe, seed), written_by_hand(recipe, seed)
    pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
    assert all(our.shape == their.shape and torch.equal(our, their) for our, their in pairs)
    for training in (True, False):
        ours.train(training), theirs.train(training)
        with torch.no_grad():
            expected = theirs(transforms.Normalize((recipe.mean,), (recipe.std,))(PIXELS))
            expected = torch.log_softmax(expected, 1) if recipe.output == "log_softmax" else expected
            logits = ours(PIXELS)
        assert logits.shape == (50, 10) and logits.dtype == torch.float32
        exact = not recipe.convolutions  # whose memory format orders sums otherwise
        torch.testing.assert_close(logits, expected, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-5)


@pytest.mark.parametrize(("mean", "std"), [(0.1307, 0.3081), (0.5, 0.5), (0.28, 0.35)])
def test_normalize_equals_torchvisions_bit_for_bit_and_keeps_its_constants_in_the_saved_state(mean, std):
    grays = (torch.arange(256, dtype=torch.float32) / 255).view(1, 1, 16, 16)
    ours, theirs = models.Normalize(mean, std), transforms.Normalize((mean,), (std,))
    for pixels in (grays, PIXELS):
        before = pixels.clone()
        assert torch.equal(ours(pixels), theirs(pixels)) and torch.equal(pixels, before)
    saved = {name: value.item() for name, value in ours.state_dict().items()}
    assert saved == pytest.approx({"mean": mean, "deviation": std})


def test_the_seed_alone_decides_and_no_generator_moves(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.random.get_rng_state()
    first, second = (models.first_layer_weights(models.build(recipes.get(), seed)) for seed in (0, 5))
    assert not torch.equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before) and seeded == []


@pytest.mark.parametrize(("output", "of"), [("log_softmax", torch.log_softmax), ("softmax", torch.softmax)])
def test_an_output_layer_gives_probabilities_of_the_same_logits(output, of):
    logits, found = (models.build(recipes.get(output=name))(PIXELS) for name in ("logits", output))
    assert torch.equal(found, of(logits, 1)) and logits.min() < 0  # there is no ReLU after the last layer


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mlp_512_256_adam_5ep", (512, 28, 28)), ("mlp_128_adam", (128, 28, 28)), ("cnn_in_seconds", (16, 6, 6))],
)
def test_the_first_weights_are_an_image_a_unit(name, shape):
    model = models.build(recipes.get(name))
    weights = models.first_layer_weights(model)
    assert weights.shape == shape and not weights.requires_grad
    layer = next(layer for layer in model if isinstance(layer, nn.Linear | nn.Conv2d))
    assert torch.equal(weights.flatten(1), layer.weight.flatten(1))


def test_a_residual_layer_adds_its_input_before_pooling_and_relu():
    layers = (Convolution(4), Convolution(4, residual=True, pool=True), Convolution(4, residual=True))
    recipe = recipes.get("cnn_best", convolutions=layers, widths=(4 * 14 * 14, 10))
    model = models.build(recipe).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # also of batch normalisation, whose own are one and zero
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
        _, first, first_norm, _, second, _, _, third, _, _, linear = model
        values = first_norm(first((PIXELS - recipe.mean) / recipe.std)).relu()
        values = F.max_pool2d(values + second.norm(second.convolution(values)), 2).relu()
        values = (values + third.norm(third.convolution(values))).relu()
        torch.testing.assert_close(model(PIXELS), linear(values.flatten(1)), rtol=1e-5, atol=1e-4)


def test_enlarged_digits_keep_their_middle_and_their_grey_values():
    small = PIXELS.mean(dim=(2, 3), keepdim=True).expand(-1, 1, 28, 28).clone()
    small[:, :, 12:16, 12:16] = 1
    large = models.Enlarge(32)(small)
    assert large.shape == (50, 1, 32, 32)
    torch.testing.assert_close(large, large.flip(2, 3))
    torch.testing.assert_close(large[:, :, :12], small[:, :, :1].expand(-1, 1, 12, -1)[..., :1].expand(-1, 1, 12, 32))
    torch.testing.assert_close(large[:, :, 15:17, 15:17], torch.ones(50, 1, 2, 2))


def test_batch_normalisation_comes_after_each_hidden_layer_of_a_fully_connected_network():
    model = models.build(recipes.get("mlp_128_adam", batch_norm=True))
    kinds = [type(layer).__name__ for layer in model]
    assert kinds == ["Normalize", "Flatten", "Linear", "BatchNorm1d", "ReLU", "Linear"]
