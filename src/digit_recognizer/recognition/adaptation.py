"""Train a network on for one person's digits, so that it knows them and does not forget those of others.

Its convolutions stay; the last layer learns. So every image passes the convolutions once, and each fold of the
cross-validation takes a second. Others' digits take part in every step: their targets are the old network's answers.
"""

import copy
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data, evaluation, records
from digit_recognizer.checkpoints import Checkpoint
from digit_recognizer.data import Digits, Split
from digit_recognizer.data.augmentation import augment, augment_batch
from digit_recognizer.data.outliers import make_outliers
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.recognition import calibration
from digit_recognizer.recognition.scores import rejection_score
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line
from digit_recognizer.training import WARM_UP

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
MIN_PICTURES = 10
FEW = 5  # pictures of a digit; with fewer, more are asked for
KNOWN = 0.9  # probability of the right digit, from which on the old network has nothing to learn
SURE = 0.9  # probability of another digit, with which the old network contradicts a label
LIKELY = 0.5  # the same, of a network that learned from the other pictures
MAX_SUSPECTS = 1 / 3  # of the pictures

OnStep = Callable[[float], None]  # takes the fraction of the work that is done, 0 to 1; it may raise to stop


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


@dataclass(frozen=True)
class Comparison:
    """How many images of a kind the old and the new network treat right."""

    name: str
    total: int
    before: int
    after: int

    @classmethod
    def of(cls, name: str, before: Tensor, after: Tensor) -> "Comparison":
        """before, after: whether each image is treated right, bool (n,)."""
        return cls(name, len(before), int(before.sum()), int(after.sum()))

    @property
    def is_worse(self) -> bool:
        """Whether the new network is worse by more than chance: below the 95 % interval of the old one's fraction."""
        return self.after / self.total < evaluation.wilson_interval(self.before, self.total)[0]


class Suspect(NamedTuple):
    """A picture that looks like another digit than its label says. picture: its index."""

    picture: int
    label: int
    looks_like: int


class Adaptation(NamedTuple):
    """What adapt made. The recipe is the old network's under another name; record: what checkpoints.save takes.

    comparisons: one's own digits first, each read by a network that has not seen it. counts, right: of one's own
    digits by digit. right_of_half: how many are read right by networks that learned from half as many.
    """

    model: nn.Module
    recipe: Recipe
    record: dict[str, Any]
    comparisons: tuple[Comparison, ...]
    suspects: tuple[Suspect, ...]
    counts: tuple[int, ...]
    right: tuple[int, ...]
    right_of_half: int

    @property
    def worse(self) -> list[Comparison]:
        """Where the new network is worse than the old one by more than chance."""
        return [each for each in self.comparisons if each.is_worse]

    def advice(self) -> list[str]:
        """How many more digits would help, in sentences."""
        total, right = sum(self.counts), sum(self.right)
        lines = []
        if few := [f"{FEW - count} of {digit}" for digit, count in enumerate(self.counts) if 0 < count < FEW]:
            lines.append(f"too few to judge, draw more: {', '.join(few)}")
        if right == total:
            return [*lines, "all of your digits are read right by networks that have not seen them"]
        misread = ", ".join(
            f"{digit} ({count - good} of {count})"
            for digit, (count, good) in enumerate(zip(self.counts, self.right, strict=True))
            if good < count
        )
        lines.append(f"still misread or refused: {misread}")
        learned = f"{self.right_of_half} of {total} are right when half of them are learned from, {right} with all"
        more = f"{total} more would help" if right > self.right_of_half else "more of the same would help little"
        return [*lines, f"{learned}: {more}"]


def load_others(folder: str | Path | None = None) -> Digits:
    """The digits of others: MNIST where it is on disk, else the embedded optdigits. Nothing is downloaded."""
    found = data.load_from_disk(folder, validation=True)
    return data.load("optdigits", validation=True) if found is None else found


class Taken(NamedTuple):
    """Digits taken from labelled pictures. left_out: why some were not, a line each."""

    paths: list[Path]
    digits: Split
    left_out: list[str]


def take_digits(pictures: Sequence[tuple[Path, int]], on_step: OnStep | None = None) -> Taken:
    """Take the digit from each picture, as it is done to read it. pictures: files of one digit, and their labels."""
    paths, images, labels, left_out = [], [np.empty((0, 28, 28), np.uint8)], [], []
    for number, (path, label) in enumerate(pictures):
        if on_step is not None:
            on_step(number / len(pictures))
        try:
            digit = analyze(path).digit()
        except UserError as error:
            left_out.append(f"{one_line(error)}; left out")
            continue
        if digit.reason is not None:
            left_out.append(f"{one_line(path)} is left out: {digit.reason}")
            continue
        paths.append(path)
        images.append(digit.image[None])
        labels.append(label)
    split = Split(torch.from_numpy(np.concatenate(images)), torch.tensor(labels, dtype=torch.int64))
    return Taken(paths, split, left_out)


def adapt(
    checkpoint: Checkpoint,
    own: Split,
    others: Digits,
    *,
    trust_labels: bool = False,
    on_step: OnStep | None = None,
) -> Adaptation:
    """Train a network on for one's own digits, and compare it with the old one. Nothing is saved: the caller saves.

    own: as preprocessing makes them. others: see load_others. trust_labels: learn pictures that contradict their
    labels too. on_step: called before each step with the fraction of the work that is done; it may raise to stop.
    Raises UserError where there is too little to learn from, or too many labels are contradicted.
    """
    began = time.perf_counter()
    validate(own)
    recipe = checkpoint.recipe
    if recipe is None:
        raise UserError("a bare state dict cannot be adapted, since its training is not known; name a model of ours")
    model = copy.deepcopy(checkpoint.model)
    body, head = split_last_layer(model)
    done, work = itertools.count(), _count_steps(own, others)
    step = _nothing if on_step is None else lambda: on_step(min(1.0, next(done) / work))
    seen, beside = see_own(body, own, recipe, step), see_others(body, others, recipe, step)
    old = Reader(copy.deepcopy(head), (checkpoint.record or {}).get("calibration"))
    learn_from = functools.partial(learn, old, seen, beside, recipe.label_smoothing, step=step)

    kept = torch.arange(len(own.labels))
    after = cross_validate(learn_from, seen, kept)
    suspects = [] if trust_labels else find_suspects(own.labels, old.probabilities(seen.plain), after.probabilities)
    if len(suspects) > MAX_SUSPECTS * len(own.labels):
        raise UserError(
            f"{len(suspects)} of {len(own.labels)} pictures look like another digit than their label says; "
            "check the labels, or give --trust-labels"
        )
    if suspects:
        is_kept = torch.ones(len(own.labels), dtype=torch.bool)
        is_kept[[each.picture for each in suspects]] = False
        kept = kept[is_kept]
        validate(own.take(kept))
        after = cross_validate(learn_from, seen, kept)
    labels, right = own.labels[kept], after.right
    of_half = cross_validate(learn_from, seen, kept, half=True)
    new = learn_from(kept)

    with torch.no_grad():
        head.weight.copy_(new.head.weight)
        head.bias.copy_(new.head.bias)
    comparisons = (
        Comparison.of("your digits", old.reads(seen.plain[kept], labels), right),
        Comparison.of(
            f"{others.title}'s test digits", *(each.is_right(beside.test, others.test.labels) for each in (old, new))
        ),
        Comparison.of("the same, accepted", *(each.accepts(beside.test) for each in (old, new))),
        Comparison.of("no digits, refused", *(~each.accepts(beside.outliers) for each in (old, new))),
    )
    adapted = replace(recipe, name=f"{recipe.name.removesuffix('_adapted')}_adapted")
    record = {
        "format": records.FORMAT,
        "recipe": adapted.name,
        "seed": 0,
        "dataset": others.name,
        "md5": dict(others.md5),
        "scores": records.scores_as_dict(evaluation.score(new.logits(beside.test), others.test.labels)),
        "calibration": new.calibration,
        "seconds": time.perf_counter() - began,
        "weights": provenance.weights_hash(model),
        "made_with": provenance.collect(model),
    }
    return Adaptation(
        model.eval(), adapted, record, comparisons, tuple(suspects), tuple(labels.bincount(minlength=10).tolist()),
        tuple(labels[right].bincount(minlength=10).tolist()), int(of_half.right.sum()),
    )  # fmt: skip


def validate(own: Split) -> None:
    """Raise UserError where there is too little to learn from."""
    if len(own.labels) < MIN_PICTURES:
        raise UserError(
            f"there are {len(own.labels)} pictures to learn from, and {MIN_PICTURES} are the least; "
            f"draw {FEW} of each digit that is misread"
        )
    if len(digits := own.labels.unique()) < 2:
        raise UserError(
            f"all {len(own.labels)} pictures are labelled {int(digits[0])}, from which a network learns to see this "
            "digit everywhere; add pictures of other digits"
        )


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


def _nothing() -> None:
    pass


def _copies(own: Split) -> int:
    """How many augmented copies are made of each of one's own digits."""
    least, most = COPIES
    return min(most, max(least, OWN_SAMPLES // len(own.labels)))


def _count_steps(own: Split, others: Digits) -> int:
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


def see_own(body: nn.Sequential, own: Split, recipe: Recipe, step: Callable[[], None] = _nothing) -> OwnFeatures:
    """Augment one's own digits as in training, and compute the features of all. step: called before each batch."""
    generator = torch.Generator().manual_seed(0)
    pixels = data.to_pixels(own.images)
    augmented = [
        _features(body, augment(pixels, recipe.augmentation, generator, own.labels), step) for _ in range(_copies(own))
    ]
    return OwnFeatures(_features(body, pixels, step), torch.stack(augmented), own.labels)


def see_others(
    body: nn.Sequential, others: Digits, recipe: Recipe, step: Callable[[], None] = _nothing
) -> OthersFeatures:
    """Augment some of others' training digits, make outliers, and compute the features of all."""
    see = functools.partial(_features, body, step=step)
    generator, strengths = torch.Generator().manual_seed(0), recipe.augmentation
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
    step: Callable[[], None] = _nothing,
) -> Reader:
    """A last layer, trained on from the old one with one's own digits of these indices, and its calibration."""
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
        progress = (number + 0.5) / STEPS
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))
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
    if others.validation is None:
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


def find_suspects(labels: Tensor, before: Tensor, after: Tensor) -> list[Suspect]:
    """The pictures whose label the old network surely contradicts, and those that learned from the others likewise.

    before, after: probabilities, float (n, 10).
    """
    (sure, first), (likely, second) = before.max(1), after.max(1)
    contradicted = (first != labels) & (second == first) & (sure >= SURE) & (likely >= LIKELY)
    return [
        Suspect(index, int(labels[index]), int(first[index])) for index in contradicted.nonzero().flatten().tolist()
    ]
