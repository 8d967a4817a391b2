"""How far it can go: our own recipes, from the best fully connected network to the best single network.

What was tried on the way, and what did not help, is in EXPERIMENTS.md. All were chosen on the validation part.
"""

from digit_recognizer.recipe import Augmentation, Convolution, Recipe

# Shared by all rungs; each number was the first that worked well, not the last that could be found.
_TRAINING = {
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
_HANDS = Augmentation(rotation=10, shift=2, scale=0.1, shear=0.1)

LADDER = (
    Recipe(
        name="mlp_best",
        source="ours, fully connected: batch normalisation, augmentation, schedule, label smoothing",
        widths=(784, 1024, 1024, 512, 10),
        epochs=20,
        augmentation=_HANDS,
        clean_epochs=1,
        **_TRAINING,
    ),
    Recipe(
        name="cnn_in_seconds",
        source="ours, 99.0 % in seconds: one epoch",
        convolutions=(Convolution(32, size=6, stride=2, pool=True), Convolution(64), Convolution(64, pool=True)),
        widths=(64 * 9, 10),
        epochs=1,
        **_TRAINING,
    ),
    Recipe(
        name="cnn_in_half_a_minute",
        source="ours, 99.5 % in half a minute: wider, augmented, four epochs",
        convolutions=(
            Convolution(32, size=6, stride=2),
            Convolution(64, pool=True),
            Convolution(64),
            Convolution(96, pool=True),
        ),
        widths=(96 * 9, 10),
        epochs=4,
        augmentation=_HANDS,
        clean_epochs=1,
        **_TRAINING,
    ),
    Recipe(
        name="cnn_in_two_minutes",
        source="ours, 99.7 % in two minutes: twice as wide at the end, ten epochs",
        convolutions=(
            Convolution(32, size=6, stride=2),
            Convolution(64, pool=True),
            Convolution(128),
            Convolution(128, pool=True),
        ),
        widths=(128 * 9, 10),
        epochs=10,
        augmentation=_HANDS,
        clean_epochs=1,
        **_TRAINING,
    ),
    Recipe(
        name="cnn_best",
        source="ours, the best single network: a layer more than that, more augmentation, twelve epochs",
        convolutions=(
            Convolution(32, size=6, stride=2),
            Convolution(64),
            Convolution(64, pool=True),
            Convolution(128),
            Convolution(128, pool=True),
        ),
        widths=(128 * 9, 10),
        epochs=12,
        augmentation=Augmentation(rotation=15, shift=2.5, scale=0.15, shear=0.15),
        clean_epochs=2,
        **(_TRAINING | {"weight_decay": 0.001}),
    ),
)
