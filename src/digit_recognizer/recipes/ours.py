"""How far it can go: our own recipes, from the best fully connected network to the best single network.

What was tried on the way, and what did not help, is in docs/experiments.md. All were chosen on digits held out of the
training set.
"""

from typing import Any

from digit_recognizer.recipes.recipe import Convolution, Recipe
from digit_recognizer.recipes.strengths import Augmentation

_HANDS = Augmentation(rotation=10, shift=2, scale=0.1, shear=0.1)
_MORE_HANDS = Augmentation(rotation=15, shift=2.5, scale=0.15, shear=0.15, sharp=True)


def _rung(name: str, what: str, **settings: Any) -> Recipe:
    """A recipe with what all rungs share; each number of that was the first that worked well, not the best there is."""
    shared: dict[str, Any] = {
        "batch_norm": True,
        "batch_size": 125,
        "optimizer": "sgd",
        "learning_rate": 0.2,
        "schedule": "triangle",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.0005,
        "label_smoothing": 0.1,
        "precision": "bfloat16",
        "curve": False,
    }
    return Recipe(name=name, source=f"ours, {what}", **(shared | settings))


LADDER = (
    _rung(
        "mlp_best",
        "fully connected: batch normalisation, augmentation, schedule, label smoothing",
        widths=(784, 1024, 1024, 512, 10),
        epochs=20,
        augmentation=_HANDS,
        clean_epochs=1,
    ),
    _rung(
        "cnn_in_seconds",
        "99.0 % in seconds: one epoch",
        convolutions=(Convolution(16, size=6, stride=2, pool=True), Convolution(32), Convolution(64, pool=True)),
        widths=(64 * 9, 10),
        epochs=1,
    ),
    _rung(
        "cnn_in_half_a_minute",
        "99.5 % in half a minute: wider, augmented, four epochs",
        convolutions=(
            Convolution(32, size=6, stride=2), Convolution(64, pool=True),
            Convolution(64), Convolution(96, pool=True),
        ),
        widths=(96 * 9, 10),
        epochs=4,
        augmentation=_HANDS,
        clean_epochs=1,
    ),
    _rung(
        "cnn_in_two_minutes",
        "99.7 % in two minutes: wider at the end, ten epochs",
        convolutions=(
            Convolution(32, size=6, stride=2), Convolution(64, pool=True),
            Convolution(128), Convolution(128, pool=True),
        ),
        widths=(128 * 9, 10),
        epochs=10,
        augmentation=_HANDS,
        clean_epochs=1,
    ),
    _rung(
        "cnn_best",
        "the best single network: no stride in the first layer, deeper, more augmentation, twelve epochs",
        convolutions=(
            Convolution(32, size=5), Convolution(32, pool=True),
            Convolution(64), Convolution(64, pool=True),
            Convolution(128), Convolution(128, pool=True),
        ),
        widths=(128 * 9, 10),
        epochs=12,
        augmentation=_MORE_HANDS,
        clean_epochs=2,
        weight_decay=0.001,
    ),
)  # fmt: skip

# Not for the last mistakes on MNIST, but for other people's pens: MNIST's strokes as a mouse, a marker or a fax would
# have drawn them, styles that MNIST lacks, and what is no digit. Held-out digits say what its confidence means.
HANDWRITING = _rung(
    "cnn_handwriting",
    "for people's own digits: more kinds of strokes, and what is no digit",
    convolutions=(
        Convolution(32, size=6, stride=2), Convolution(64), Convolution(64, pool=True),
        Convolution(128), Convolution(128, pool=True),
    ),
    widths=(128 * 9, 10),
    epochs=18,
    augmentation=Augmentation(
        rotation=12,
        shift=2,
        scale=0.12,
        shear=0.15,
        elastic=1,
        stroke=0.5,
        blur=0.3,
        contrast=0.3,
        hard_edges=0.15,
        styles=0.4,
    ),
    non_digits=0.3,
    weight_decay=0.001,
    label_smoothing=0.05,
    validation=True,
)  # fmt: skip

OURS = (*LADDER, HANDWRITING)
