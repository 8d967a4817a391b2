"""What networks together read wrong, of those of best_network.py on thirds of the training digits, and of a study.

    python -m benchmarks.trials.committees LOGITS --study cnn_best_wide

LOGITS is the folder of best_network.py's --logits. A committee's probabilities are the means of its members', each
divided by the temperature that suits the variant's thirds. The same temperature then gives the loss on MNIST's test
digits of the seeds of `digits study --recipes cnn_best_wide`, whose probabilities must still be there. They choose
nothing. Saved in results/trials/committees.json, where what an earlier run found of other variants and recipes stays.
"""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digit_recognizer import data, evaluation, records
from digit_recognizer.cli.parser import Parser, add_data_dir, run_main
from digit_recognizer.evaluation import Scores
from digit_recognizer.runtime import files, provenance
from digit_recognizer.study import cross_validation

REPEATS = 2  # trainings of each variant on each third
UNLIKE = ("twice_as_wide_and_long", "half_wide_layers", "kernels_7")

Members = dict[str, list[list[Tensor]]]  # of each variant, for each third: probabilities, float32 (n, 10)


def main() -> None:
    """Count, print and save."""
    parser = Parser(prog="python -m benchmarks.trials.committees", description=__doc__)
    parser.add_argument("logits", metavar="LOGITS", help="folder of the logits of held-out digits")
    parser.add_argument(
        "--study", metavar="NAME", nargs="*", default=[], help="recipes with seeds in results/ (default: none)"
    )
    parser.add_argument("--out", metavar="DIR", default="results", help="folder of the records (default: results)")
    add_data_dir(parser)
    options = parser.parse_args()
    files.check_writable(options.out)
    torch.set_num_threads(1)
    out, digits = Path(options.out), data.load("mnist", options.data_dir)
    labels = [cross_validation.split_fold(digits.train, fold)[1].labels for fold in range(cross_validation.FOLDS)]
    trainings = json.loads((out / "trials" / "best_network.json").read_text())
    temperatures = {
        name: statistics.mean(each["temperature"] for each in result["trainings"])
        for name, result in trainings.items()
        if all("temperature" in each for each in result["trainings"])
    }
    members = read_members(Path(options.logits), temperatures)
    thirds = {name: count_thirds(members, [name], labels) for name in members}
    for names in (UNLIKE, tuple(members)):
        if names and set(names) <= set(members):
            thirds[" + ".join(names)] = count_thirds(members, names, labels)
    studies = {name: count_study(out / name, temperatures[name], digits.test.labels) for name in options.study}
    path = out / "trials" / "committees.json"
    known = json.loads(path.read_text()) if path.exists() else {"thirds": {}, "test": {}}
    result: dict[str, Any] = {
        "temperatures": temperatures,
        "thirds": known["thirds"] | thirds,
        "test": known["test"] | studies,
    }
    print(json.dumps(result, indent=1))
    records.save(path, result | {"made_with": provenance.collect(None)})


def read_members(folder: Path, temperatures: dict[str, float]) -> Members:
    """The first REPEATS trainings on each third of the variants that have them all."""
    members = {}
    for name, temperature in temperatures.items():
        paths = [
            [folder / f"{name}-{cross_validation.seed_of(fold, repeat)}.npy" for repeat in range(REPEATS)]
            for fold in range(cross_validation.FOLDS)
        ]
        if all(path.exists() for of_fold in paths for path in of_fold):
            members[name] = [[_probabilities(np.load(path), temperature) for path in of_fold] for of_fold in paths]
    return members


def _probabilities(logits: np.ndarray, temperature: float) -> Tensor:
    return (torch.from_numpy(logits).float() / temperature).softmax(1)


def count_thirds(members: Members, names: Iterable[str], labels: list[Tensor]) -> dict[str, float]:
    """Wrong predictions of the 60,000 and the loss, of one member alone (the mean) and of all of these together."""
    of_folds = [[each for name in names for each in members[name][fold]] for fold in range(len(labels))]
    alone = [[score(each, truth) for each in of_fold] for of_fold, truth in zip(of_folds, labels, strict=True)]
    together = [score(mean(of_fold), truth) for of_fold, truth in zip(of_folds, labels, strict=True)]
    return {
        "members": len(of_folds[0]),
        "alone": sum(statistics.mean(map(wrong, of_fold)) for of_fold in alone),
        "together": sum(map(wrong, together)),
        "loss_alone": statistics.mean(each.mean_loss for of_fold in alone for each in of_fold),
        "loss_together": statistics.mean(each.mean_loss for each in together),
    }


def count_study(folder: Path, temperature: float, labels: Tensor) -> dict[str, Any]:
    """Wrong predictions and loss of the test digits by each seed and by all together; wrong_by_all: by every seed."""
    tiny = np.finfo(np.float32).tiny
    logits = [np.log(np.maximum(np.load(path), tiny)) for path in sorted(folder.glob("mnist-seed*.npy"))]
    members = [_probabilities(each, temperature) for each in logits]
    alone, together = [score(each, labels) for each in members], score(mean(members), labels)
    return {
        "wrong_by_all": int(torch.stack([each.argmax(1) != labels for each in members]).all(0).sum()),
        "wrong": [wrong(each) for each in alone],
        "loss": [each.mean_loss for each in alone],
        "together": {"wrong": wrong(together), "loss": together.mean_loss},
    }


def mean(members: list[Tensor]) -> Tensor:
    """What a committee says: the mean of its members' probabilities."""
    return torch.stack(members).mean(0)


def score(probabilities: Tensor, labels: Tensor) -> Scores:
    """Scores of probabilities, of which those that float32 rounds to zero count as the least it has."""
    return evaluation.score(probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log(), labels)


def wrong(scores: Scores) -> int:
    """How many predictions were wrong."""
    return scores.count - scores.correct


if __name__ == "__main__":
    run_main(main)
