"""The kept trials: what they measure, and that the pages say what their records say."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.trials import refusal_scores
from digit_recognizer import checkpoints
from digit_recognizer.recognition.prediction import MIN_ALTERNATIVE
from digit_recognizer.recognition.recognizer import SHIPPED, Recognizer

ROOT = Path(__file__).parents[2]
RECORD = json.loads((ROOT / "results/trials/refusal_scores.json").read_text())


def test_area_threshold_and_alternatives_of_worked_examples():
    digits, others = torch.tensor([3.0, 2.0, 1.0, 4.0]), torch.tensor([1.0, 2.5])
    assert refusal_scores.auc(digits, others) == (4 - 0.5 + 2) / 8  # 1.0 wins three and ties once, 2.5 loses to two
    assert refusal_scores.threshold_at(digits, 0.25) == 2
    probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.95, 0.05, 0.0], [0.5, 0.4, 0.1]])
    counts = refusal_scores.count_alternatives(probabilities, torch.tensor([1, 0, 2]))
    assert list(counts["0.2"].values()) == [2, 0, 1]
    assert list(counts["0.05"].values()) == [3, 1, 3]


@pytest.mark.parametrize(("what", "is_letter"), [("greek letter", True), ("letter H", True), ("page of greek", False)])
def test_letters_are_counted_apart(what, is_letter):
    assert refusal_scores.is_letter({"what": what}) is is_letter


def test_other_letters_and_signs_are_none_that_were_trained_on():
    generator, pixels = torch.Generator().manual_seed(0), torch.rand(50, 1, 28, 28)
    made = refusal_scores.make_all(pixels, torch.arange(50) % 10, generator)
    assert len(made["trained"]) == 10 and len(made["new"]) == 5
    assert all(images.shape == (refusal_scores.OUTLIERS, 1, 28, 28) for images in made["new"].values())
    assert not set(refusal_scores.NEW_FONTS + refusal_scores.TEX_FONTS) & set(refusal_scores.outliers.FONTS)
    assert not set(refusal_scores.SIGNS) & set(refusal_scores.outliers.LETTERS)


def test_the_record_is_of_the_shipped_network_and_the_chosen_score_is_as_good_as_any():
    """A record of other weights or of another threshold must be made again."""
    assert RECORD["network"] == checkpoints.pretrained(SHIPPED).record["weights"]
    assert RECORD["shipped"]["rejection_threshold"] == Recognizer.load().rejection_threshold
    accepted = {
        name: sum(row["accepted_at_loss"]["0.01"]["new"].values()) / 5 for name, row in RECORD["scores"].items()
    }
    chosen = accepted[refusal_scores.CHOSEN]
    assert chosen < 0.7 * accepted["largest probability, calibrated (before)"]
    assert chosen < min(accepted.values()) + 0.005


def test_the_pages_state_the_rates_of_the_record():
    shipped, n = RECORD["shipped"], RECORD["n"]
    refused, pictures = shipped["digits_refused"], shipped["pictures"]
    named = shipped["alternatives"]["augmented"][str(MIN_ALTERNATIVE)]
    page = " ".join((ROOT / "docs/own_digits.md").read_text(encoding="utf-8").split())
    card = " ".join((checkpoints.PRETRAINED / "cnn_handwriting.md").read_text(encoding="utf-8").split())
    for text in (page, card):
        assert f"{refused['as they are']:.2%}" in text and f"{refused['test']:.2%}" in text
    for kind, accepted in shipped["outliers_accepted"].items():
        assert f"| {kind} | {n['outliers of each kind']:,} | {accepted:.1%} |" in page
    digits, apart = n["pictures of digits"], n["pictures of digits left out"]
    assert (
        f"| digits | {digits} | {pictures['digits refused']} refused, {pictures['digits read wrong']} wrong |" in page
    )
    assert f"| {apart} | {pictures['digits left out refused']} refused |" in page
    assert f"| {n['pictures of letters']} | {pictures['letters accepted']} accepted |" in page
    assert f"| {n['other pictures']} | {pictures['others accepted']} accepted |" in page
    right, doubts = named["answer or alternative right"], named["digits with an alternative"]
    assert f"{right} of {doubts}" in page
