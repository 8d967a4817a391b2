"""Our recipes: a fully connected network, convolutional ones from the quickest to the best, and two for special uses.

All were chosen on digits held out of the training set, but for the number of filters of cnn_in_a_second.
docs/experiments.md has a line for every trial.
"""

import dataclasses
import functools

from digit_recognizer.recipes.recipe import Augmentation, Convolution, Recipe

_MODERATE = Augmentation(rotation=10, shift=2, scale=0.1, shear=0.1)
_STRONG = Augmentation(rotation=15, shift=2.5, scale=0.15, shear=0.15, interpolation="bicubic")

# What most of them share; a recipe names what it changes. Each was the first that worked well, not a tuned optimum.
_recipe = functools.partial(
    Recipe, batch_norm=True, batch_size=125, optimizer="sgd", learning_rate=0.2, schedule="triangle", momentum=0.9,
    nesterov=True, weight_decay=0.0005, label_smoothing=0.1, precision="bfloat16", eval_every_epoch=False,
)  # fmt: skip

OURS = (
    _recipe(
        "mlp_best",
        "ours, fully connected: batch normalisation, augmentation, schedule, label smoothing",
        widths=(784, 1024, 1024, 512, 10),
        epochs=20, augmentation=_MODERATE, epochs_without_augmentation=1,
    ),
    _recipe(
        "cnn_in_a_second",
        "ours, in a second: a first layer of fixed filters, whose output is computed once; one epoch",
        convolutions=(Convolution(32, size=6, stride=2, pool=True, fixed=True), Convolution(64, pool=True)),
        widths=(64 * 9, 64, 10),
        epochs=1, batch_size=250, learning_rate=0.8,
    ),
    _recipe(
        "cnn_in_seconds",
        "ours, in seconds: one epoch",
        convolutions=(Convolution(16, size=6, stride=2, pool=True), Convolution(32), Convolution(64, pool=True)),
        widths=(64 * 9, 10),
        epochs=1,
    ),
    _recipe(
        "cnn_in_half_a_minute",
        "ours, in half a minute: wider, augmented, four epochs",
        convolutions=(
            Convolution(32, size=6, stride=2), Convolution(64, pool=True),
            Convolution(64), Convolution(96, pool=True),
        ),
        widths=(96 * 9, 10),
        epochs=4, augmentation=_MODERATE, epochs_without_augmentation=1,
    ),
    _recipe(
        "cnn_in_two_minutes",
        "ours, in two minutes: wider at the end, ten epochs",
        convolutions=(
            Convolution(32, size=6, stride=2), Convolution(64, pool=True),
            Convolution(128), Convolution(128, pool=True),
        ),
        widths=(128 * 9, 10),
        epochs=10, augmentation=_MODERATE, epochs_without_augmentation=1,
    ),
    _recipe(
        "cnn_best",
        "ours, the best single network: no stride in the first layer, deeper, more augmentation, twelve epochs",
        convolutions=(
            Convolution(32, size=5), Convolution(32, pool=True),
            Convolution(64), Convolution(64, pool=True),
            Convolution(128), Convolution(128, pool=True),
        ),
        widths=(128 * 9, 10),
        epochs=12, augmentation=_STRONG, epochs_without_augmentation=2, weight_decay=0.001,
    ),
    _recipe(
        "cnn_best_wide",
        "ours, twice as wide as the best, every second layer residual, elastic augmentation, trained twice as long",
        convolutions=(
            Convolution(64, size=5), Convolution(64, residual=True, pool=True),
            Convolution(128), Convolution(128, residual=True, pool=True),
            Convolution(256), Convolution(256, residual=True, pool=True),
        ),
        widths=(256 * 9, 10),
        epochs=24, augmentation=dataclasses.replace(_STRONG, elastic=1.0), epochs_without_augmentation=2,
        weight_decay=0.001, label_smoothing=0.05,
    ),
    # For a graphics card, after published networks. It was not better than cnn_best.
    _recipe(
        "cnn_wide",
        "ours, for a graphics card: 128 channels at 28x28 pixels, residual layers, larger digits, Adam",
        convolutions=(
            Convolution(128, size=5), Convolution(128, residual=True, pool=True), Convolution(128, residual=True),
            Convolution(256, pool=True), Convolution(256, residual=True),
            Convolution(512, pool=True), Convolution(512, residual=True),
        ),
        widths=(512 * 9, 10), side=32,
        epochs=12, augmentation=_STRONG, epochs_without_augmentation=2,
        optimizer="adam", learning_rate=0.001, schedule="exponential", momentum=0.0, nesterov=False,
        weight_decay=0.0, label_smoothing=0.0,
    ),
    # For other people's pens: strokes as a mouse, a marker or a fax draws them, styles that MNIST lacks, and outliers.
    # Damage is for those who read images as they are, without our preprocessing. The validation part calibrates its
    # confidence.
    _recipe(
        "cnn_handwriting",
        "ours, for people's own digits: more kinds of strokes, and outliers",
        convolutions=(
            Convolution(32, size=5), Convolution(32, pool=True),
            Convolution(64), Convolution(64, pool=True),
            Convolution(128), Convolution(128, pool=True),
        ),
        widths=(128 * 9, 10),
        epochs=24,
        augmentation=Augmentation(
            rotation=15, shift=2, scale=0.15, shear=0.15, elastic=1, stroke=0.5, blur=0.3, contrast=0.3,
            hard_edges=0.15, styles=0.5, damage=0.1,
        ),
        outlier_fraction=0.4, weight_decay=0.001, label_smoothing=0.05, validation=True,
    ),
)  # fmt: skip
