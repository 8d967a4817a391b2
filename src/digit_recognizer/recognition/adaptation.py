"""Learn one person's digits: check them, train the last layer on, and compare it with the old one.

last_layer does the learning; here is what it is for, what may go wrong, and what is said of it.
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
from torch import Tensor, nn

from digit_recognizer import data, evaluation, records
from digit_recognizer.checkpoints import Checkpoint
from digit_recognizer.data import Digits, Split
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.recognition import last_layer
from digit_recognizer.recognition.last_layer import (
    OthersFeatures,
    Reader,
    cross_validate,
    learn,
    see_others,
    see_own,
    split_last_layer,
)
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line

MIN_PICTURES = 10
FEW = 5  # pictures of a digit; with fewer, more are asked for
SURE = 0.9  # probability of another digit, with which the old network contradicts a label
LIKELY = 0.5  # the same, of a network that learned from the other pictures
MAX_SUSPECTS = 1 / 3  # of the pictures

OnStep = Callable[[float], None]  # takes the fraction of the work that is done, 0 to 1; it may raise to stop


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
        lowest, _ = evaluation.wilson_interval(self.before, self.total)
        return self.after < self.before and self.after / self.total < lowest  # which is 1e-19 for 0 of 2,000


class Suspect(NamedTuple):
    """A picture that looks like another digit than its label says. picture: its index."""

    picture: int
    label: int
    looks_like: int


class MislabelledError(UserError):
    """Too many pictures are suspects for the others to be learned from."""

    def __init__(self, suspects: Sequence[Suspect], count: int) -> None:
        """count: of the pictures."""
        super().__init__(
            f"{len(suspects)} of {count} pictures look like another digit than their label says; check the labels"
        )
        self.suspects = suspects


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
    Raises UserError where there is too little to learn from, MislabelledError where too many labels are contradicted.
    """
    began = time.perf_counter()
    validate(own)
    recipe = checkpoint.recipe
    if recipe is None:
        raise UserError("a bare state dict cannot be adapted, since its training is not known; name a model of ours")
    model = copy.deepcopy(checkpoint.model)
    body, head = split_last_layer(model)
    done, work = itertools.count(), last_layer.count_steps(own, others)
    step = last_layer.do_nothing if on_step is None else lambda: on_step(min(1.0, next(done) / work))
    seen, beside = see_own(body, own, recipe, step), see_others(body, others, recipe, step)
    old = Reader(copy.deepcopy(head), (checkpoint.record or {}).get("calibration"))
    learn_from = functools.partial(learn, old, seen, beside, recipe.label_smoothing, step=step)

    kept = torch.arange(len(own.labels))
    after = cross_validate(learn_from, seen, kept)
    suspects = [] if trust_labels else find_suspects(own.labels, old.probabilities(seen.plain), after.probabilities)
    if suspects:
        kept = _without(suspects, own)
        after = cross_validate(learn_from, seen, kept)
    labels, right = own.labels[kept], after.right
    of_half = cross_validate(learn_from, seen, kept, half=True)
    new = learn_from(kept)

    with torch.no_grad():
        head.weight.copy_(new.head.weight)
        head.bias.copy_(new.head.bias)
    adapted = replace(recipe, name=f"{recipe.name.removesuffix('_adapted')}_adapted")
    record = _describe(adapted, others, model, new, beside) | {"seconds": time.perf_counter() - began}
    own_comparison = Comparison.of("your digits", old.reads(seen.plain[kept], labels), right)
    return Adaptation(
        model.eval(), adapted, record, (own_comparison, *_compare(old, new, others, beside)), tuple(suspects),
        tuple(labels.bincount(minlength=10).tolist()), tuple(labels[right].bincount(minlength=10).tolist()),
        int(of_half.right.sum()),
    )  # fmt: skip


def _without(suspects: list[Suspect], own: Split) -> Tensor:
    """The indices of the other pictures. Raises MislabelledError, or UserError where too few are left."""
    if len(suspects) > MAX_SUSPECTS * len(own.labels):
        raise MislabelledError(suspects, len(own.labels))
    is_kept = torch.ones(len(own.labels), dtype=torch.bool)
    is_kept[[each.picture for each in suspects]] = False
    kept = is_kept.nonzero().flatten()
    validate(own.take(kept))
    return kept


def _compare(old: Reader, new: Reader, others: Digits, beside: OthersFeatures) -> list[Comparison]:
    """Both networks on others' digits and on outliers."""
    whose = others.title + ("'" if others.title.endswith("s") else "'s")
    is_right = (each.is_right(beside.test, others.test.labels) for each in (old, new))
    accepted = (each.accepts(beside.test) for each in (old, new))
    refused = (~each.accepts(beside.outliers) for each in (old, new))
    return [
        Comparison.of(f"{whose} test digits", *is_right),
        Comparison.of("the same, accepted", *accepted),
        Comparison.of("no digits, refused", *refused),
    ]


def _describe(recipe: Recipe, others: Digits, model: nn.Module, new: Reader, beside: OthersFeatures) -> dict[str, Any]:
    """The record of the network that learned, in plain types."""
    return {
        "format": records.FORMAT,
        "recipe": recipe.name,
        "seed": 0,
        "dataset": others.name,
        "md5": dict(others.md5),
        "scores": records.scores_as_dict(evaluation.score(new.logits(beside.test), others.test.labels)),
        "calibration": new.calibration,
        "weights": provenance.weights_hash(model),
        "made_with": provenance.collect(model),
    }


def validate(own: Split) -> None:
    """Raise UserError where there is too little to learn from."""
    if len(own.labels) < MIN_PICTURES:
        raise UserError(
            f"too few pictures to learn from: {len(own.labels)}, and {MIN_PICTURES} are the least; "
            f"draw {FEW} of each digit that is misread"
        )
    if len(digits := own.labels.unique()) < 2:
        raise UserError(
            f"all {len(own.labels)} pictures are labelled {int(digits[0])}, from which a network learns to see this "
            "digit everywhere; add pictures of other digits"
        )


def find_suspects(labels: Tensor, before: Tensor, after: Tensor) -> list[Suspect]:
    """The pictures whose label the old network surely contradicts, and those that learned from the others likewise.

    before, after: probabilities, float (n, 10).
    """
    (sure, first), (likely, second) = before.max(1), after.max(1)
    contradicted = (first != labels) & (second == first) & (sure >= SURE) & (likely >= LIKELY)
    return [
        Suspect(index, int(labels[index]), int(first[index])) for index in contradicted.nonzero().flatten().tolist()
    ]
