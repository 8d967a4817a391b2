"""What networks together read wrong, of those of best_network.py on thirds of the training digits, and of a study.

    python -m benchmarks.trials.committees LOGITS --study cnn_best_wide

LOGITS is the folder of best_network.py's --logits. A committee's probabilities are the means of its members', each
divided by the temperature that suits the variant's thirds. The same temperature then gives the loss on MNIST's test
digits of the seeds of `digits study --recipes cnn_best_wide`, whose probabilities must still be there. They choose
nothing. Saved in results/trials/committees.json.
"""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from digit_recognizer.cli.parser import Parser, run_main

REPEATS = 2  # trainings of each variant on each third
UNLIKE = ("cnn_best_wide", "half_wide_layers", "kernels_7")


def main() -> None:
    """Count, print and save."""
    parser = Parser(prog="python -m benchmarks.trials.committees", description=__doc__)
    parser.add_argument("logits", metavar="LOGITS", help="folder of the logits of held-out digits")
    parser.add_argument("--study", metavar="NAME", nargs="*", default=[], help="recipes with seeds in results/")
    parser.add_argument("--out", metavar="DIR", default="results", help="folder of the records (default: results)")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of MNIST/raw")
    options = parser.parse_args()
    import torch

    from digit_recognizer import data, records
    from digit_recognizer.runtime import provenance
    from digit_recognizer.study import cross_validation

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
    complete = [name for name in temperatures if len(members[name]) == REPEATS * cross_validation.FOLDS]
    thirds = {name: count_thirds(members, [name], labels) for name in complete}
    for names in (UNLIKE, complete):
        if names and set(names) <= set(complete):
            thirds[" + ".join(names)] = count_thirds(members, names, labels)
    result: dict[str, Any] = {"temperatures": temperatures, "thirds": thirds}
    result["test"] = {name: count_study(out / name, temperatures[name], digits.test.labels) for name in options.study}
    print(json.dumps(result, indent=1))
    records.save(out / "trials" / "committees.json", result | {"made_with": provenance.collect(None)})


def read_members(folder: Path, temperatures: dict[str, float]) -> dict[str, dict[int, Any]]:
    """The probabilities of each variant's trainings by seed, float32 (n, 10): the first REPEATS on each third."""
    import numpy as np
    import torch

    from digit_recognizer.study import cross_validation

    seeds = [cross_validation.seed_of(fold, repeat) for repeat in range(REPEATS) for fold in range(3)]
    found: dict[str, dict[int, Any]] = {}
    for name, temperature in temperatures.items():
        paths = {seed: folder / f"{name}-{seed}.npy" for seed in seeds}
        found[name] = {
            seed: (torch.from_numpy(np.load(path)).float() / temperature).softmax(1)
            for seed, path in paths.items()
            if path.exists()
        }
    return found


def count_thirds(members: dict[str, dict[int, Any]], names: Iterable[str], labels: list[Any]) -> dict[str, float]:
    """Wrong predictions of the 60,000 and the loss, of one member alone (the mean) and of all of these together."""
    alone, together = [], []
    for fold, truth in enumerate(labels):
        of_fold = [each for name in names for seed, each in members[name].items() if (seed - 100) % 3 == fold]
        alone.append([score(each, truth) for each in of_fold])
        together.append(score(sum(of_fold) / len(of_fold), truth))
    return {
        "members": len(alone[0]),
        "alone": sum(statistics.mean(wrong for wrong, _ in each) for each in alone),
        "together": sum(wrong for wrong, _ in together),
        "loss_alone": statistics.mean(loss for each in alone for _, loss in each),
        "loss_together": statistics.mean(loss for _, loss in together),
    }


def count_study(folder: Path, temperature: float, labels: Any) -> dict[str, Any]:
    """Wrong predictions and loss of the test digits by each seed and by all together; wrong_by_all: by every seed."""
    import numpy as np
    import torch

    paths = sorted(folder.glob("mnist-seed*.npy"))
    tiny = torch.finfo(torch.float32).tiny
    logits = [torch.from_numpy(np.load(path)).clamp(min=tiny).log() for path in paths]
    members = [(each / temperature).softmax(1) for each in logits]
    alone = [score(each, labels) for each in members]
    together = score(sum(members) / len(members), labels)
    by_all = torch.stack([each.argmax(1) != labels for each in members]).all(0)
    return {
        "wrong_by_all": int(by_all.sum()),
        "wrong": [wrong for wrong, _ in alone],
        "loss": [loss for _, loss in alone],
        "together": {"wrong": together[0], "loss": together[1]},
    }


def score(probabilities: Any, labels: Any) -> tuple[int, float]:
    """Wrong predictions, and the mean negative log-likelihood."""
    import torch

    chosen = probabilities[torch.arange(len(labels)), labels].clamp(min=torch.finfo(probabilities.dtype).tiny)
    return int((probabilities.argmax(1) != labels).sum()), float(-chosen.log().mean())


if __name__ == "__main__":
    run_main(main)
