"""What the constants of learning a hand do: each is changed alone, and the same hands are learned again.

    python -m benchmarks.trials.adapting

The original bitmaps of optdigits at even places are one hand here, cross-validated. The others are drawn
(drawn_hand.py). Held out are MNIST's validation digits. The test digits and the bitmaps at odd places choose nothing:
the network of the constants as they are reads them at the end. The record is results/trials/adapting.json;
docs/experiments.md tells it. It takes ten minutes with one thread.
"""

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import harness
from benchmarks.trials import drawn_hand
from digit_recognizer.cli.parser import Parser, run_main

if TYPE_CHECKING:
    from digit_recognizer.checkpoints import Checkpoint
    from digit_recognizer.data import Digits, Split
    from digit_recognizer.recognition.last_layer import OthersFeatures, OwnFeatures, Reader

EXAMPLES, UNSEEN = 5, 40  # of each digit of a drawn hand
HANDS, REPORTED = range(100, 104), range(200, 204)  # seeds of drawn hands: those that choose, those that report
# A constant of recognition.last_layer, and the values that are tried.
CHANGES = {
    "STEPS": (150, 600),
    "LEARNING_RATE": (0.2, 0.5, 1.0, 4.0),
    "OWN_WEIGHT": (0.0005, 0.002, 0.005),
    "MAX_OWN_WEIGHT": (0.1, 0.5, 1.0),
    "KNOWN": (0.7, 0.99),
    "OTHERS_BATCH": (256, 1024),
}
PENALTIES = (0.0, 0.0001, 0.0003, 0.001, 0.003)  # where optdigits stand in for MNIST


class Hand(NamedTuple):
    """A drawn hand: what is learned, and what is read."""

    own: "OwnFeatures"
    unseen: "OwnFeatures"


def split_of(digits: Iterable[tuple[Any, int]]) -> "Split":
    """Pictures and labels, as adaptation takes them."""
    import numpy as np
    import torch

    from digit_recognizer.data import Split
    from digit_recognizer.preprocessing.page import analyze

    read = [(analyze(picture).digit().image, label) for picture, label in digits]
    return Split(torch.from_numpy(np.stack([image for image, _ in read])), torch.tensor([label for _, label in read]))


def drawn(count: int, seed: int) -> "Split":
    """That many of each digit of the drawn hand."""
    return split_of((image, label) for label, image in drawn_hand.pictures(count, seed))


class Trial:
    """All features once, from the layers that do not change. bitmaps: one hand, or None."""

    def __init__(self, checkpoint: "Checkpoint", digits: "Digits", embedded: "Digits", bitmaps: "Split | None") -> None:
        from digit_recognizer.recognition import last_layer

        self.body, head = last_layer.split_last_layer(checkpoint.model)
        self.recipe = checkpoint.recipe
        self.old = last_layer.Reader(head, (checkpoint.record or {}).get("calibration"))
        self.labels = digits.test.labels
        self.beside = last_layer.see_others(self.body, digits, self.recipe)
        self.embedded = last_layer.see_others(self.body, embedded, self.recipe)
        self.bitmaps = None if bitmaps is None else self.see(bitmaps)

    def see(self, own: "Split") -> "OwnFeatures":
        """The features of a hand."""
        from digit_recognizer.recognition import last_layer

        return last_layer.see_own(self.body, own, self.recipe)

    def learn(self, own: "OwnFeatures", others: "OthersFeatures", indices: Any = None) -> "Reader":
        """What learned these digits of a hand, or all of them."""
        import torch

        from digit_recognizer.recognition import last_layer

        indices = torch.arange(len(own.labels)) if indices is None else indices
        return last_layer.learn(self.old, own, others, self.recipe.label_smoothing, indices)

    def count(self, hands: list[Hand], readers: "list[Reader]") -> dict[str, int]:
        """Drawn digits read right and not refused, others' digits read right, and outliers refused."""
        others = [int(each.is_right(self.beside.test, self.labels).sum()) for each in readers]
        pairs = zip(hands, readers, strict=True)
        return {
            "drawn": sum(int(each.reads(hand.unseen.plain, hand.unseen.labels).sum()) for hand, each in pairs),
            "held out": sum(others),
            "held out, least": min(others),
            "refused": sum(int((~each.accepts(self.beside.outliers)).sum()) for each in readers),
        }

    def row(self, hands: list[Hand]) -> dict[str, int]:
        """What the constants of now make of the hands beside MNIST."""
        import torch

        from digit_recognizer.recognition import last_layer

        row = self.count(hands, [self.learn(hand.own, self.beside) for hand in hands])
        if self.bitmaps is not None:
            learn_from = functools.partial(self.learn, self.bitmaps, self.beside)
            places = torch.arange(len(self.bitmaps.labels))
            row["bitmaps"] = int(last_layer.cross_validate(learn_from, self.bitmaps, places).right.sum())
            row["bitmaps, held out"] = int(
                self.learn(self.bitmaps, self.beside).is_right(self.beside.test, self.labels).sum()
            )
        return row


def choose(trial: Trial, hands: list[Hand]) -> dict[str, dict[str, int]]:
    """A row for the old network, the constants as they are, and each change; then for learning without MNIST."""
    from digit_recognizer.recognition import last_layer

    rows = {"not adapted": trial.count(hands, [trial.old] * len(hands))}
    if trial.bitmaps is not None:
        rows["not adapted"]["bitmaps"] = int(trial.old.reads(trial.bitmaps.plain, trial.bitmaps.labels).sum())
    rows["as it is"] = trial.row(hands)
    for name, values in CHANGES.items():
        kept = getattr(last_layer, name)
        for value in values:
            setattr(last_layer, name, value)
            rows[f"{name} = {value} instead of {kept}"] = trial.row(hands)
        setattr(last_layer, name, kept)
    kept = last_layer.PENALTY
    for value in PENALTIES:
        last_layer.PENALTY = value
        readers = [trial.learn(hand.own, trial.embedded) for hand in hands]
        rows[f"without MNIST, PENALTY = {value}"] = trial.count(hands, readers)
    last_layer.PENALTY = kept
    return rows


def report(trial: Trial, hands: list[Hand], halves: "list[Split]") -> dict[str, Any]:
    """Hands that chose nothing, and MNIST's test digits: before and after."""
    before = trial.count(hands, [trial.old] * len(hands))
    after = trial.count(hands, [trial.learn(hand.own, trial.beside) for hand in hands])
    embedded = trial.count(hands, [trial.learn(hand.own, trial.embedded) for hand in hands])
    result: dict[str, Any] = {"before": before, "after": after, "after, without MNIST": embedded}
    for name, learned, read in zip(("even to odd", "odd to even"), halves, halves[::-1], strict=True):
        hand = Hand(trial.see(learned), trial.see(read))
        counts = {"digits": len(read.labels)}
        for when, reader in (("before", trial.old), ("after", trial.learn(hand.own, trial.beside))):
            counts[when] = int(reader.reads(hand.unseen.plain, hand.unseen.labels).sum())
            counts[f"test digits {when}"] = int(reader.is_right(trial.beside.test, trial.labels).sum())
        result[f"bitmaps, {name}"] = counts
    return result


def main() -> None:
    """Learn as the library does, and with each change; print and save."""
    parser = Parser(prog="python -m benchmarks.trials.adapting", description=__doc__)
    options = harness.parse_trial(parser)

    import torch

    from digit_recognizer import checkpoints, data, records
    from digit_recognizer.data import test_sets
    from digit_recognizer.recognition.recognizer import SHIPPED
    from digit_recognizer.runtime import device, provenance

    device.choose_device("cpu", 1)
    checkpoint, digits = checkpoints.pretrained(SHIPPED), data.load("mnist", options.data_dir, validation=True)
    embedded, (bitmaps, _) = data.load("optdigits"), test_sets.load_test("optdigits-original")
    places = torch.arange(len(bitmaps.labels))
    halves = [bitmaps.take(places[places % 2 == half]) for half in (0, 1)]

    held_out = dataclasses.replace(digits, test=digits.validation)
    trial = Trial(checkpoint, held_out, embedded, halves[0])
    seen = [[Hand(*(trial.see(drawn(count, 2 * seed + part)) for part, count in enumerate((EXAMPLES, UNSEEN))))
             for seed in seeds] for seeds in (HANDS, REPORTED)]  # fmt: skip
    rows = choose(trial, seen[0])
    reported = report(Trial(checkpoint, digits, embedded, None), seen[1], halves)
    for name, row in (*rows.items(), *reported.items()):
        print(name, row)
    n = {
        "hands": len(HANDS),
        "drawn": sum(len(hand.unseen.labels) for hand in seen[0]),
        "held out": len(held_out.test.labels),
        "test digits": len(digits.test.labels),
        "bitmaps": len(halves[0].labels),
        "outliers": len(trial.beside.outliers),
    }
    record = {
        "n": n, "chosen on": rows, "reported": reported, "network": (checkpoint.record or {})["weights"],
        "made_with": provenance.collect(None),
    }  # fmt: skip
    records.save(Path(options.out) / "trials" / "adapting.json", record)


if __name__ == "__main__":
    run_main(main)
