"""The last layer of a network, trained on for one person's digits, and read by cross-validation.

The layers before it do not change. So every image passes them once, and a training on the features takes a second.
Others' digits take part in every step: their targets are the old network's answers.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data, training
from digit_recognizer.data import Digits, Split
from digit_recognizer.data.augmentation import augment, augment_batch
from digit_recognizer.data.outliers import make_outliers
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.recognition import calibration
from digit_recognizer.recognition.scores import rejection_score

STEPS = 300
LEARNING_RATE = 2.0  # the peak; see training.learning_rate's triangle
MOMENTUM = 0.9
OWN_BATCH = 128  # of one's own digits, augmented
OTHERS_BATCH = 512  # of others' digits, and outliers
OWN_WEIGHT, MAX_OWN_WEIGHT = 0.001, 0.25  # of each of one's own digits in the loss, and of all; others' weigh 1
OWN_SAMPLES = 2000  # augmented copies of one's own digits, all together
COPIES = (4, 150)  # of each of them, at least and at most
OTHERS = 10_000  # digits of others, half of them augmented
PENALTY = 0.0003  # of the squared distance from the old weights, where MNIST is not on disk
OUTLIERS = 2000  # on which refusal is measured
FOLDS = 5  # an odd number: half of the digits are every second one, in all folds
BATCH = 50  # images that are seen at once
KNOWN = 0.9  # probability of the right digit, from which on the old network has nothing to learn


class Reader(NamedTuple):
    """The last layer of a network with its calibration; see calibration.calibrate, None without one.

    features: float32 (n, k), what the layers before make of n images.
    """

    head: nn.Linear
    calibration: dict[str, float] | None

    def logits(self, features: Tensor) -> Tensor:
        """float32 (n, 10)."""
        with torch.no_grad():
            return self.head(features)

    def probabilities(self, features: Tensor) -> Tensor:
        """Calibrated: float32 (n, 10)."""
        return (self.logits(features) / (self.calibration or {}).get("temperature", 1.0)).softmax(1)

    def is_right(self, features: Tensor, labels: Tensor) -> Tensor:
        """Whether the likeliest digit is the label: bool (n,)."""
        return self.logits(features).argmax(1) == labels

    def accepts(self, features: Tensor) -> Tensor:
        """Whether each image is like a digit: bool (n,)."""
        threshold = (self.calibration or {}).get("rejection_threshold", 0.0)
        return torch.from_numpy(rejection_score(self.logits(features).numpy()) >= threshold)

    def reads(self, features: Tensor, labels: Tensor) -> Tensor:
        """Whether each image is read right, and not refused: bool (n,)."""
        return self.is_right(features, labels) & self.accepts(features)


def split_last_layer(model: nn.Module) -> tuple[nn.Sequential, nn.Linear]:
    """The layers before the last linear one, and that one; both share their weights with the model."""
    layers = list(model.children())
    last = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    return nn.Sequential(*layers[:last]), layers[last]  # type: ignore[return-value]


class OwnFeatures(NamedTuple):
    """One's own digits, as the layers see them that do not change.

    plain: float32 (n, k); augmented: float32 (copies, n, k); labels: int64 (n,).
    """

    plain: Tensor
    augmented: Tensor
    labels: Tensor


class OthersFeatures(NamedTuple):
    """The same of others' digits, float32 (n, k).

    beside: digits and outliers beside which one's own are learned. validation: augmented and as they are, with the
    labels of the augmented ones; None without MNIST. test, outliers: on which networks are compared.
    """

    beside: Tensor
    validation: tuple[Tensor, Tensor, Tensor] | None
    test: Tensor
    outliers: Tensor


def do_nothing() -> None:
    """Wait for nobody before a step."""


def _copies(own: Split) -> int:
    """How many augmented copies are made of each of one's own digits."""
    least, most = COPIES
    return min(most, max(least, OWN_SAMPLES // len(own.labels)))


def count_steps(own: Split, others: Digits) -> int:
    """How many batches are seen and steps made, about; without a suspect label it is FOLDS trainings less."""
    images = (_copies(own) + 1) * len(own.labels) + OTHERS + len(others.test.labels) + OUTLIERS
    if (validation := _for_calibration(others)) is not None:
        images += (calibration.AUGMENTED_COPIES + 1) * len(validation.labels)
    return images // BATCH + STEPS * (3 * FOLDS + 1)


def _for_calibration(others: Digits) -> Split | None:
    """The digits that temperature and threshold are fitted on. The embedded ones are too few."""
    return None if others.name == "optdigits" else others.validation


@torch.no_grad()
def _features(body: nn.Sequential, pixels: Tensor, step: Callable[[], None]) -> Tensor:
    features = []
    for part in pixels.split(BATCH):
        step()
        features.append(body(part))
    return torch.cat(features)


def see_own(body: nn.Sequential, own: Split, recipe: Recipe, step: Callable[[], None] = do_nothing) -> OwnFeatures:
    """Augment one's own digits as in training, and compute the features of all. step: called before each batch."""
    generator = torch.Generator().manual_seed(0)
    pixels, strengths = data.to_pixels(own.images), dataclasses.replace(recipe.augmentation, damage=0)
    augmented = [_features(body, augment(pixels, strengths, generator, own.labels), step) for _ in range(_copies(own))]
    return OwnFeatures(_features(body, pixels, step), torch.stack(augmented), own.labels)


def see_others(
    body: nn.Sequential, others: Digits, recipe: Recipe, step: Callable[[], None] = do_nothing
) -> OthersFeatures:
    """Augment some of others' training digits, make outliers, and compute the features of all."""
    see = functools.partial(_features, body, step=step)
    generator, strengths = torch.Generator().manual_seed(0), dataclasses.replace(recipe.augmentation, damage=0)
    chosen = others.train.take(torch.randperm(len(others.train.labels), generator=generator)[:OTHERS])
    halves = data.to_pixels(chosen.images).chunk(2)
    augmented, _ = augment_batch(halves[0], chosen.labels[: len(halves[0])], recipe, 0, generator)

    validation = None
    if (held_out := _for_calibration(others)) is not None:
        images, labels = calibration.augmented_copies(held_out, strengths)
        validation = see(data.to_pixels(images)), see(data.to_pixels(held_out.images)), labels

    generator = torch.Generator().manual_seed(0)
    test = data.to_pixels(others.test.images)
    outliers = augment(make_outliers(test, others.test.labels, OUTLIERS, generator), strengths, generator)
    return OthersFeatures(see(torch.cat([augmented, halves[1]])), validation, see(test), see(outliers))


def learn(
    old: Reader,
    own: OwnFeatures,
    others: OthersFeatures,
    smoothing: float,
    indices: Tensor,
    step: Callable[[], None] = do_nothing,
) -> Reader:
    """A last layer, trained on from the old one with one's own digits of these indices, and its calibration.

    An old network without calibration refuses nothing, and nor does the new one: else it would accept fewer digits.
    """
    generator = torch.Generator().manual_seed(0)
    head = copy.deepcopy(old.head)
    targets = old.logits(others.beside).softmax(1)
    own_targets = _own_targets(old, own, smoothing)
    own_weight = min(MAX_OWN_WEIGHT, OWN_WEIGHT * len(indices))
    weight = old.head.weight.detach()
    penalty = 0.0 if others.validation is not None else PENALTY
    optimizer = torch.optim.SGD(head.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True)
    for number in range(STEPS):
        step()
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * training.triangle((number + 0.5) / STEPS)
        digits = indices[torch.randint(len(indices), (OWN_BATCH,), generator=generator)]
        copies = torch.randint(len(own.augmented), (OWN_BATCH,), generator=generator)
        beside = torch.randint(len(others.beside), (OTHERS_BATCH,), generator=generator)
        own_logits, others_logits = head(own.augmented[copies, digits]), head(others.beside[beside])
        loss = own_weight * F.cross_entropy(own_logits, own_targets[copies, digits])
        loss = loss + F.cross_entropy(others_logits, targets[beside])
        loss = loss + penalty * (head.weight - weight).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    new = Reader(head, old.calibration)
    if others.validation is None or old.calibration is None:
        return new
    augmented, plain, labels = others.validation
    return new._replace(calibration=calibration.fit(new.logits(augmented), labels, new.logits(plain)))


def _own_targets(old: Reader, own: OwnFeatures, smoothing: float) -> Tensor:
    """What the probabilities of one's own augmented digits are to be: float32 (copies, n, 10).

    Their labels, smoothed; but where the old network is right and sure, what it says: there is nothing to learn.
    """
    logits = old.logits(own.augmented)
    said = logits.softmax(-1)
    labels = F.one_hot(own.labels, 10).float().expand_as(said)
    is_known = ((logits.argmax(-1) == own.labels) & (said.amax(-1) >= KNOWN))[..., None]
    return torch.where(is_known, said, labels * (1 - smoothing) + smoothing / 10)


class CrossValidated(NamedTuple):
    """What networks that have not seen them say of one's own digits. probabilities: (n, 10); right: bool (n,)."""

    probabilities: Tensor
    right: Tensor


def cross_validate(
    learn_from: Callable[[Tensor], Reader], own: OwnFeatures, indices: Tensor, half: bool = False
) -> CrossValidated:
    """Read one's own digits of these indices, each by a network that learned from those of the other folds.

    half: from half of these, of each digit.
    """
    labels = own.labels[indices]
    place = torch.empty_like(labels)  # of each picture among those of its digit
    for digit in labels.unique():
        same = (labels == digit).nonzero().flatten()
        place[same] = torch.randperm(len(same), generator=torch.Generator().manual_seed(0))
    folds = (place + labels) % FOLDS  # the pictures of a digit, one after the other, to all folds
    probabilities, right = torch.empty(len(labels), 10), torch.empty(len(labels), dtype=torch.bool)
    for fold in range(FOLDS):
        is_held = folds == fold
        learned = ~is_held & ((place + labels) % 2 == 0 if half else True)
        if not is_held.any():
            continue
        reader = learn_from(indices[learned])
        features = own.plain[indices[is_held]]
        probabilities[is_held] = reader.probabilities(features)
        right[is_held] = reader.reads(features, labels[is_held])
    return CrossValidated(probabilities, right)
