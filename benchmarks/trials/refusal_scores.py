"""Compare scores by which the shipped network may refuse pictures as not like a digit. Nothing is trained.

    python -m benchmarks.trials.refusal_scores --pictures DIR DIR ...

The choice rests on MNIST's validation digits, augmented as in training, and on outliers made of them: kinds that the
network was trained with, and kinds that it never saw. DIR holds development pictures of strangers, which only check
the choice: digits.csv (file, label, group) and nondigits.csv (file, what). The record is
results/trials/refusal_scores.json; docs/experiments.md tells it. It takes three minutes with one thread.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from benchmarks import harness, reading
from digit_recognizer import checkpoints, data, records
from digit_recognizer.cli.parser import Parser, run_main
from digit_recognizer.data import augmentation, outliers
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recognition.prediction import MIN_ALTERNATIVE
from digit_recognizer.recognition.recognizer import SHIPPED, Recognizer
from digit_recognizer.recognition.scores import rejection_score as score_of_array
from digit_recognizer.runtime import provenance

LOSSES = (0.03, 0.01, 0.005)  # fractions of the digits that a threshold refuses
COPIES = 4  # of each validation digit
OUTLIERS = 2000  # of each kind
REFERENCE = 20_000  # training digits, for class means and neighbours
NEW_FONTS = ("DejaVuSerif", "DejaVuSans-BoldOblique", "STIXGeneralBol", "STIXGeneralBolIta", "DejaVuSerif-Bold")
TEX_FONTS = ("cmr10", "cmmi10", "cmss10", "cmtt10")  # Latin letters only stand at their usual places
LATIN = "".join(letter for letter in outliers.LETTERS if letter.isascii() and letter.isalpha())
GREEK = "".join(letter for letter in outliers.LETTERS if "Α" <= letter <= "ω")
SIGNS = "−♥♪∫∂∈∩⊂⊥∠≠∑∏→←↑☺£¥©"
CHOSEN = "divergence from uniform, T = 1"  # rejection_score
COMBINED = (
    CHOSEN, "largest logit", "three largest probabilities, T = 1", "cosine to the nearest class mean",
    "cosine to the 10th nearest of 10,000 digits",
)  # fmt: skip
ALTERNATIVES = (0.05, MIN_ALTERNATIVE, 0.2)  # least probabilities of another digit that is named beside the answer
VIEWS = ((0.0, 1.0), (8.0, 1.0), (-8.0, 1.0), (0.0, 0.9), (0.0, 1.1))  # degrees and size, for a mean over views


class Seen(dict[str, Tensor]):
    """What the scores are computed from: logits (n, 10), features (n, 1152) and views, logits (n, 5, 10)."""


def observe(model: nn.Sequential, pixels: Tensor) -> Seen:
    """pixels: float32 (n, 1, 28, 28)."""
    layers = nn.Sequential(*model)
    with torch.inference_mode():
        features = torch.cat([layers[:-1](part) for part in pixels.split(1000)])
        views = [torch.cat([layers(_turn(part, *view)) for part in pixels.split(1000)]) for view in VIEWS]
        return Seen(logits=layers[-1](features), features=features, views=torch.stack(views, dim=1))


def _turn(pixels: Tensor, degrees: float, size: float) -> Tensor:
    cos, sin = math.cos(math.radians(degrees)) / size, math.sin(math.radians(degrees)) / size
    matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(pixels), -1, -1)
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


# scores: higher for digits


def rejection_score(logits: Tensor) -> Tensor:
    """The score that reading uses."""
    return torch.from_numpy(score_of_array(logits.numpy()))


def make_scores(temperature: float, reference: Seen, labels: Tensor) -> dict[str, Callable[[Seen], Tensor]]:
    """All scores by name. reference: training digits with their labels, for scores of the last features."""
    centre = reference["features"].mean(0)
    means = torch.stack([reference["features"][labels == digit].mean(0) for digit in range(10)])
    residual = reference["features"] - means[labels]
    covariance = residual.T @ residual / len(residual) + 1e-3 * torch.eye(residual.shape[1])
    precision = torch.linalg.inv(covariance.double()).float()
    directions = F.normalize(means - centre)
    neighbours = F.normalize(reference["features"][:10_000])

    def mahalanobis(seen: Seen) -> Tensor:
        differences = (seen["features"] - mean for mean in means)
        return -torch.stack([((each @ precision) * each).sum(1) for each in differences]).amin(0)

    def of_logits(function: Callable[[Tensor], Tensor]) -> Callable[[Seen], Tensor]:
        return lambda seen: function(seen["logits"])

    def at(divisor: float, function: Callable[[Tensor], Tensor]) -> Callable[[Seen], Tensor]:
        return lambda seen: function(seen["logits"] / divisor)

    def most_likely(count: int) -> Callable[[Tensor], Tensor]:
        return lambda logits: logits.softmax(1).topk(count).values.sum(1)

    def negative_entropy(logits: Tensor) -> Tensor:
        return (logits.softmax(1) * logits.log_softmax(1)).sum(1)

    scores = {"largest probability, calibrated (before)": at(temperature, most_likely(1))}
    for divisor in (1.0, 4.0):
        scores[f"largest probability, T = {divisor:g}"] = at(divisor, most_likely(1))
    for divisor in (temperature, 1.0, 2.0):
        name = "calibrated" if divisor == temperature else f"T = {divisor:g}"
        scores[f"two largest probabilities, {name}"] = at(divisor, most_likely(2))
        scores[f"negative entropy, {name}"] = at(divisor, negative_entropy)
        scores[f"divergence from uniform, {name}"] = at(divisor, rejection_score)
    for divisor in (0.25, 1.0, 4.0):
        scores[f"energy, T = {divisor:g}"] = at(divisor, lambda logits: logits.logsumexp(1))
    return scores | {
        "three largest probabilities, T = 1": at(1.0, most_likely(3)),
        "divergence from uniform, T = 4": at(4.0, rejection_score),
        "largest logit": of_logits(lambda logits: logits.amax(1)),
        "largest logit less the mean": of_logits(lambda logits: logits.amax(1) - logits.mean(1)),
        "norm of the centred logits": of_logits(lambda logits: (logits - logits.mean(1, keepdim=True)).norm(dim=1)),
        "norm of the features": lambda seen: seen["features"].norm(dim=1),
        "Mahalanobis distance to the nearest class mean": mahalanobis,
        "cosine to the nearest class mean": lambda seen: (F.normalize(seen["features"] - centre) @ directions.T).amax(
            1
        ),
        "cosine to the 10th nearest of 10,000 digits": lambda seen: torch.cat(
            [(F.normalize(part) @ neighbours.T).topk(10).values[:, -1] for part in seen["features"].split(1000)]
        ),
        "divergence from uniform, T = 1, mean over five views": lambda seen: rejection_score(seen["views"]).mean(1),
    }


def fit_combination(names: Iterable[str], scores: dict[str, Callable], digits: Seen, made: Seen) -> Callable:
    """A logistic regression on several scores: digits against outliers of the kinds of training."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def table(seen: Seen) -> np.ndarray:
        return np.stack([scores[name](seen).numpy() for name in names], axis=1)

    columns = [table(digits), table(made)]
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    fitted.fit(np.concatenate(columns), np.repeat([1, 0], [len(column) for column in columns]))
    return lambda seen: torch.from_numpy(fitted.decision_function(table(seen)))


# measures


def auc(digits: Tensor, others: Tensor) -> float:
    """Area under the ROC curve: how often a digit scores higher than another picture; ties count half."""
    ranks = stats.rankdata(torch.cat([others, digits]).double().numpy())
    return float((ranks[len(others) :].sum() - len(digits) * (len(digits) + 1) / 2) / (len(digits) * len(others)))


def threshold_at(digits: Tensor, loss: float) -> float:
    """The score below which this fraction of the digits lies."""
    return float(digits.sort().values[int(loss * len(digits))])


def fraction(chosen: Tensor) -> float:
    """The fraction of True, to five places."""
    return round(float(chosen.double().mean()), 5)


# outliers


def make_all(pixels: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, dict[str, Tensor]]:
    """Outliers as they are before augmentation, by kind: those of training, and new ones."""
    trained = {
        make.__name__.strip("_"): make(pixels, labels, OUTLIERS, generator)
        for make in (
            outliers._halves, outliers._turned, outliers._barred, outliers._pairs, outliers._scribbles,
            outliers._textures, outliers._letters, outliers._blobs, outliers._written, outliers._drawn,
        )
    }  # fmt: skip
    drawn = {
        "letters in other fonts": outliers.render_letters(LATIN, NEW_FONTS + TEX_FONTS),
        "written letters, other fonts": outliers.render_letters(LATIN, NEW_FONTS + TEX_FONTS, written=True),
        "Greek letters in other fonts": outliers.render_letters(GREEK, NEW_FONTS),
        "written Greek letters, other fonts": outliers.render_letters(GREEK, NEW_FONTS, written=True),
        "signs": outliers.render_letters(SIGNS, ("DejaVuSans", "STIXGeneral")),
    }
    new = {
        kind: data.to_pixels(images[torch.randint(len(images), (OUTLIERS,), generator=generator)])
        for kind, images in drawn.items()
    }
    return {"trained": trained, "new": new}


# pictures of strangers


def read_pictures(folder: Path, table: str) -> tuple[Tensor, list[dict[str, str]]]:
    """What the network is given of each picture, uint8 (n, 28, 28), and its row; "reason" says what was refused."""
    rows, images = reading.read_table(folder, table), []
    for row in rows:
        digit = analyze(folder / row["file"]).digit()
        row["reason"] = digit.reason or ""
        images.append(digit.image)
    return torch.from_numpy(np.stack(images)), rows


def is_letter(row: dict[str, str]) -> bool:
    """Letters, Greek ones too, can look like digits; blank paper, noise, signs and diagrams cannot."""
    return row["what"].startswith(("letter", "greek letter"))


class Pictures:
    """Development pictures: what was seen of digits, letters and others. left_out: a group of authors."""

    def __init__(self, model: nn.Sequential, folders: Iterable[Path], left_out: str | None) -> None:
        digits, others = ([read_pictures(folder, f"{kind}digits.csv") for folder in folders] for kind in ("", "non"))
        rows = [row for _, part in digits for row in part]
        readable = torch.tensor([not row["reason"] for row in rows])
        apart = torch.tensor([row["group"] == left_out for row in rows])
        seen = data.to_pixels(torch.cat([images for images, _ in digits]))
        self.labels = torch.tensor([int(row["label"]) for row in rows])[readable & ~apart]
        self.digits, self.left_out = observe(model, seen[readable & ~apart]), observe(model, seen[readable & apart])
        self.others = observe(model, data.to_pixels(torch.cat([images for images, _ in others])))
        rows = [row for _, part in others for row in part]
        self.letters = torch.tensor([is_letter(row) for row in rows])
        self.refused = torch.tensor([bool(row["reason"]) for row in rows])  # blank or several digits, by the intake

    def count(self, score: Callable[[Seen], Tensor], threshold: float) -> dict[str, int]:
        """Pictures that are refused or read wrong, and other pictures that are accepted, at a threshold."""
        digits, accepted = score(self.digits), (score(self.others) >= threshold) & ~self.refused
        wrong = self.digits["logits"].argmax(1) != self.labels
        return {
            "digits refused": int((digits < threshold).sum()),
            "digits read wrong": int((wrong & (digits >= threshold)).sum()),
            "digits left out refused": int((score(self.left_out) < threshold).sum()),
            "letters accepted": int(accepted[self.letters].sum()),
            "others accepted": int(accepted[~self.letters].sum()),
        }

    def measure(self, score: Callable[[Seen], Tensor], held_out: dict[str, float]) -> dict[str, Any]:
        """AUC and accepted fractions at thresholds of a given loss: of these digits, and of the held-out ones."""
        digits, others = score(self.digits).double(), score(self.others).double()
        others[self.refused] = -math.inf
        parts = {"letters": others[self.letters], "others": others[~self.letters]}

        def accepted(threshold: float) -> dict[str, float]:
            return {name: fraction(part >= threshold) for name, part in parts.items()}

        return {
            "auc": {name: round(auc(digits, part), 5) for name, part in parts.items()},
            "accepted_at_loss": {str(loss): accepted(threshold_at(digits, loss)) for loss in LOSSES},
            "at_held_out_threshold": {
                loss: {"digits_refused": fraction(digits < threshold)} | accepted(threshold)
                for loss, threshold in held_out.items()
            },
        }


def is_doubt(seen: Seen, temperature: float) -> Tensor:
    """Digits between two answers: the second is an alternative, and both together have 90 % or more. bool (n,)."""
    two = (seen["logits"] / temperature).softmax(1).topk(2).values
    return (two[:, 1] >= MIN_ALTERNATIVE) & (two.sum(1) >= 0.9)


def count_alternatives(probabilities: Tensor, labels: Tensor) -> dict[str, dict[str, int]]:
    """Of accepted digits, by least probability: how many have an alternative, and how many of these are right.

    probabilities: float (n, 10); labels: int64 (n,).
    """
    counts, answers = {}, probabilities.argmax(1)
    for least in ALTERNATIVES:
        named = (probabilities >= least).scatter(1, answers[:, None], True)
        among = named.gather(1, labels[:, None])[:, 0]
        doubted = named.sum(1) > 1
        counts[str(least)] = {
            "digits with an alternative": int(doubted.sum()),
            "answer right": int((doubted & (answers == labels)).sum()),
            "answer or alternative right": int((doubted & among).sum()),
        }
    return counts


def main() -> None:
    """Compute all scores and write the record."""
    parser = Parser(prog="python -m benchmarks.trials.refusal_scores", description=__doc__)
    parser.add_argument("--pictures", metavar="DIR", type=Path, nargs="+", default=[], help="folders of pictures")
    parser.add_argument("--leave-out", metavar="GROUP", help="a group of digits that is left out")
    options = harness.parse_trial(parser)
    torch.set_num_threads(1)
    records.save(Path(options.out) / "trials" / "refusal_scores.json", run(options))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The record. options: of the command line."""
    checkpoint = checkpoints.pretrained(SHIPPED)
    model, settings = checkpoint.model, dataclasses.replace(checkpoint.recipe.augmentation, damage=0)
    temperature = checkpoint.record["calibration"]["temperature"]
    digits = data.load("mnist", options.data_dir, validation=True)
    generator = torch.Generator().manual_seed(0)

    plain, labels = data.to_pixels(digits.validation.images), digits.validation.labels
    augmented = torch.cat([augmentation.augment(plain, settings, generator, labels) for _ in range(COPIES)])
    held_out = {"augmented": observe(model, augmented), "as they are": observe(model, plain)}
    made = {
        group: {
            kind: observe(model, augmentation.augment(pixels, settings, generator)) for kind, pixels in each.items()
        }
        for group, each in make_all(augmented[: len(plain)], labels, generator).items()
    }
    train = digits.train.images[:REFERENCE], digits.train.labels[:REFERENCE]
    reference = observe(model, augmentation.augment(data.to_pixels(train[0]), settings, generator, train[1]))
    pictures = Pictures(model, options.pictures, options.leave_out) if options.pictures else None

    scores = make_scores(temperature, reference, train[1])
    half = Seen({name: torch.cat([each[name][::2] for each in made["trained"].values()]) for name in reference})
    scores["logistic regression on five of these"] = fit_combination(
        COMBINED, scores, Seen({name: values[::2] for name, values in held_out["augmented"].items()}), half
    )
    rows = {name: _measure(score, held_out, made, pictures, temperature) for name, score in scores.items()}
    test = {"test": observe(model, data.to_pixels(digits.test.images))}
    threshold = Recognizer.load().rejection_threshold
    repeated = {"augmented": labels.repeat(COPIES), "as they are": labels, "test": digits.test.labels}
    record: dict[str, Any] = {
        "network": checkpoint.record["weights"],
        "n": {"digits": len(augmented), "digits as they are": len(plain), "outliers of each kind": OUTLIERS},
        "doubts": int(is_doubt(held_out["augmented"], temperature).sum()),
        "shipped": {
            "rejection_threshold": threshold,
            "digits_refused": {
                name: fraction(scores[CHOSEN](seen) < threshold) for name, seen in (held_out | test).items()
            },
            "outliers_accepted": {
                kind: fraction(scores[CHOSEN](seen) >= threshold)
                for each in made.values()
                for kind, seen in each.items()
            },
            "alternatives": {
                name: _alternatives(seen, repeated[name], scores[CHOSEN](seen) >= threshold, temperature)
                for name, seen in (held_out | test).items()
            },
        },
        "scores": rows,
        "made_with": provenance.collect(model, None),
    }
    if pictures is not None:
        record["shipped"]["pictures"] = pictures.count(scores[CHOSEN], threshold)
        record["n"] |= {
            "pictures of digits": len(pictures.labels), "pictures of digits left out": len(pictures.left_out["logits"]),
            "pictures of letters": int(pictures.letters.sum()),
            "other pictures": int((~pictures.letters).sum()),
        }  # fmt: skip
    return record


def _alternatives(seen: Seen, labels: Tensor, accepted: Tensor, temperature: float) -> dict[str, dict[str, int]]:
    return count_alternatives((seen["logits"] / temperature).softmax(1)[accepted], labels[accepted])


def _measure(
    score: Callable[[Seen], Tensor],
    held_out: dict[str, Seen],
    made: dict[str, dict[str, Seen]],
    pictures: Pictures | None,
    temperature: float,
) -> dict[str, Any]:
    digits = score(held_out["augmented"])
    thresholds = {str(loss): threshold_at(digits, loss) for loss in LOSSES}
    values = {group: {kind: score(seen) for kind, seen in each.items()} for group, each in made.items()}
    doubts = is_doubt(held_out["augmented"], temperature)
    row = {
        "auc": {group: round(float(np.mean([auc(digits, part) for part in each.values()])), 5)
                for group, each in values.items()},
        "accepted_at_loss": {
            loss: {group: {kind: fraction(part >= threshold) for kind, part in each.items()}
                   for group, each in values.items()}
            for loss, threshold in thresholds.items()
        },
        "thresholds": thresholds,
        "digits_as_they_are_refused": {
            loss: fraction(score(held_out["as they are"]) < threshold) for loss, threshold in thresholds.items()
        },
        "doubts_refused": {loss: fraction(digits[doubts] < threshold) for loss, threshold in thresholds.items()},
    }  # fmt: skip
    return row if pictures is None else row | {"pictures": pictures.measure(score, thresholds)}


if __name__ == "__main__":
    run_main(main)
