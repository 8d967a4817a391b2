"""The trainings of the five published projects, each with its source, and ablations of them.

Where a source is silent, `unspecified_details` says what was chosen instead.
"""

import dataclasses
from typing import Any

from digit_recognizer.recipes.recipe import Published, Recipe

_OUTPUT = "Output: log-softmax, and then a cross-entropy that takes it again, as in its code."
_SEED_SILENT = "Seed: not stated; ours is --seed, 0 by default."
_EPOCH_SILENT = "Reported epoch: not stated; ours is the last."
_NORMALISATION_SILENT = "Normalisation: not stated; ours is MNIST's mean 0.1307 and std 0.3081."

PUBLISHED = (
    Recipe(
        name="mlp_512_256_adam_5ep",
        source="mnist-recognition, MNIST Recognition Project (its README; its notebook for what the README leaves out)",
        widths=(784, 512, 256, 10),
        epochs=5,
        published=Published(train_loss=0.0370, train_accuracy=0.9881, test_loss=0.0732, test_accuracy=0.9787),
        unspecified_details=(
            "Random numbers: its notebook draws weights and batches from one global generator seeded with 42, on a "
            "GPU; ours draws each from a generator of its own, seeded with --seed.",
            "Losses: its notebook averages batch means; ours divide the sum over all digits by their count. The table "
            "compares the test loss in its own definition.",
        ),
    ),
    Recipe(
        name="mlp_128_64_adam_10ep",
        source="tkinter-mnist, MNIST Digit Recognition with a tkinter window (its README)",
        widths=(784, 128, 64, 10),
        epochs=10,
        unspecified_details=("Accuracy: not stated, only plotted.", _NORMALISATION_SILENT, _EPOCH_SILENT, _SEED_SILENT),
    ),
    Recipe(
        name="mlp_128_64_sgd_15ep",
        source="qmnist-streamlit, MNIST Digit Classification with PyTorch (its README)",
        widths=(784, 128, 64, 10),
        epochs=15,
        batch_size=32,
        optimizer="sgd",
        momentum=0.9,
        dataset="qmnist",
        validation=True,
        published=Published(train_accuracy=0.97, validation_accuracy=0.9715, test_accuracy=0.9700),
        unspecified_details=(
            "Momentum: used, but not stated; ours is 0.9.",
            "Split: train, validation and test, fractions not stated; ours is 80, 10 and 10 % of the 120,000, "
            "at random, which mixes writers as its own must have (the data set qmnist-writers keeps them apart).",
            _NORMALISATION_SILENT,
            _EPOCH_SILENT,
            _SEED_SILENT,
        ),
    ),
    Recipe(
        name="mlp_128_64_adam_200ep",
        source="log-softmax-200, Handwritten Digit Recognition with MNIST (as its README describes it)",
        widths=(784, 128, 64, 10),
        epochs=200,
        mean=0.5,
        std=0.5,
        output="log_softmax",
        published=Published(test_accuracy=0.9803),
        unspecified_details=(
            "Network: the README's; its published number belongs to the network of its code, the next recipe.",
            "Normalisation: not in the README; 0.5 and 0.5 as in its code.",
            _OUTPUT,
            _EPOCH_SILENT,
            _SEED_SILENT,
        ),
    ),
    Recipe(
        name="mlp_128_64_32_adam_200ep",
        source="log-softmax-200, Handwritten Digit Recognition with MNIST (as its code and its weights are)",
        widths=(784, 128, 64, 32, 10),
        epochs=200,
        mean=0.5,
        std=0.5,
        output="log_softmax",
        published=Published(test_accuracy=0.9803),
        unspecified_details=(_OUTPUT, _EPOCH_SILENT, _SEED_SILENT),
    ),
    Recipe(
        name="mlp_128_adam",
        source="one-hidden-layer, MNIST Handwritten Digit Classifier (its README)",
        widths=(784, 128, 10),
        epochs=5,
        published=Published(test_accuracy=0.97),
        unspecified_details=(
            "Epochs: 'multiple', not stated; ours are 5.",
            "Batch size: not stated; ours is 64.",
            "Accuracy: 'approximately 97 %'.",
            _NORMALISATION_SILENT,
            _EPOCH_SILENT,
            _SEED_SILENT,
        ),
    ),
)

_BY_NAME = {recipe.name: recipe for recipe in PUBLISHED}


def _ablation(of: str, name: str, what: str, **changes: Any) -> Recipe:
    """A published recipe with one field changed; its source reports no number for it."""
    recipe = dataclasses.replace(_BY_NAME[of], published=Published(), unspecified_details=(), **changes)
    return dataclasses.replace(recipe, name=name, source=f"ablation of {recipe.project}, {what}")


# What another choice gives where a source leaves one open.
ABLATIONS = (
    _ablation(
        "mlp_512_256_adam_5ep", "mlp_512_256_adam_5ep_half",
        "normalised by 0.5 and 0.5", mean=0.5, std=0.5,
    ),
    _ablation(
        "mlp_128_64_sgd_15ep", "mlp_128_64_sgd_15ep_plain",
        "without momentum, on MNIST", momentum=0.0, dataset="mnist",
    ),
    _ablation(
        "mlp_128_64_adam_10ep", "mlp_128_64_adam_10ep_log_softmax",
        "log-softmax before cross-entropy", output="log_softmax",
    ),
    _ablation(
        "mlp_128_64_adam_10ep", "mlp_128_64_adam_10ep_softmax", "softmax before cross-entropy", output="softmax"
    ),
    _ablation("mlp_128_adam", "mlp_128_adam_batch_128", "batches of 128", batch_size=128),
    _ablation("mlp_128_adam", "mlp_128_adam_20ep", "20 epochs", epochs=20),
)  # fmt: skip
