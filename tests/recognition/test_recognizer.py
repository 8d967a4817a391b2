"""Predictions, their calibrated confidence, and when there is none."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from digit_recognizer import checkpoints, data, evaluation, models, recipes
from digit_recognizer.data import augmentation, outliers
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recipes.recipe import Augmentation
from digit_recognizer.recognition import calibration, plots, recognizer, scores
from digit_recognizer.recognition.prediction import MIN_ALTERNATIVE
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def one() -> Image.Image:
    image = Image.new("L", (120, 120), 255)
    ImageDraw.Draw(image).line((70, 15, 55, 105), fill=0, width=11)
    return image


def test_a_prediction_has_all_that_is_shown(one, network):
    prediction = network.predict(one)
    assert (prediction.digit, prediction.reason, prediction.warnings) == (1, None, ("dark on light, inverted",))
    assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-5)
    assert prediction.confidence == max(prediction.probabilities) > 0.8
    assert prediction.ranked[0] == 1 and sorted(prediction.ranked) == list(range(10))
    assert prediction.image.shape == (28, 28) and prediction.image.max() == 255
    assert prediction.page.image.size == one.size
    assert prediction.preprocessed.component.image.any()


def test_many_pictures_and_pages_are_read_as_each_alone(one, network):
    pictures = [one, one.rotate(180), Image.new("L", (60, 60), 255)]
    together = network.predict_many(pictures)
    assert [prediction.digit for prediction in together] == [network.predict(each).digit for each in pictures]
    assert [prediction.page for prediction in together] == [None] * 3  # 5 MB each
    with pytest.raises(UserError, match="keeps no page"):
        plots.digit(together[0], "")
    assert network.predict_many([]) == []
    page = analyze(one)
    for read in (network.predict, network.read_number):
        assert read(page).page is page
        assert (read(page).confidence, read(page).warnings) == (read(one).confidence, read(one).warnings)


def test_many_threads_may_read_at_once(optdigits, network):
    """One recognizer serves all visitors of the page: each gets the answer of one alone, bit for bit."""
    pictures = [255 - image.numpy().repeat(5, 0).repeat(5, 1) for image in optdigits.train.images[:24]]
    alone = [network.predict(picture).probabilities for picture in pictures]
    with ThreadPoolExecutor(8) as threads:
        together = [threads.submit(network.predict, picture) for picture in 4 * pictures]
    assert [one.result().probabilities for one in together] == 4 * alone
    assert len(set(alone)) == len(alone)  # or a mixed-up answer would not be seen


def test_a_rejected_picture_says_why(one, network):
    blank = network.predict(Image.new("L", (60, 60), 255))
    assert (blank.digit, blank.reason, blank.confidence) == (None, "blank", 0)
    two = Image.new("L", (240, 120), 255)
    two.paste(one, (0, 0))
    two.paste(one, (120, 0))
    assert network.predict(two).reason == "several digits"
    strict = Recognizer(network.model, network.temperature, rejection_threshold=1000)
    refused = strict.predict(one)
    assert (refused.digit, refused.reason, refused.alternatives, refused.doubt) == (None, "not like a digit", (), "")


def test_a_doubt_is_answered_with_the_likelier_and_its_alternative(one, doubtful):
    prediction = doubtful.predict(one)
    assert (prediction.digit, prediction.reason, prediction.alternatives) == (5, None, (9,))
    assert prediction.confidence == pytest.approx(0.54) and prediction.doubt == "or 9 (44.0%)"
    sure = prediction._replace(probabilities=(*[0.005] * 5, 0.9, 0.005, 0.005, 0.005, 0.08), confidence=0.9)
    assert (sure.alternatives, sure.doubt) == ((), "")
    three = prediction._replace(probabilities=(0, 0.1, 0, 0, 0, 0.4, 0, 0.2, 0, 0.3), confidence=0.4)
    assert three.alternatives == (9, 7, 1) and three.doubt == "or 9 (30.0%) or 7 (20.0%) or 1 (10.0%)"
    two = Image.new("L", (240, 120), 255)
    two.paste(one, (0, 0))
    two.paste(one, (120, 0))
    number = doubtful.read_number(two)._replace(predictions=(prediction, sure, prediction))
    assert number.doubt == "#1: 5 or 9 (44.0%), #3: 5 or 9 (44.0%)"


def test_the_rejection_score_of_worked_examples():
    """ln(1 / 10) less the mean of ln p: nothing where all are equal, much where eight of ten are ruled out."""
    equal, doubt, vague = torch.full((10,), 0.1), torch.full((10,), 0.0025), torch.full((10,), 0.05)
    doubt[5], doubt[9], vague[5] = 0.54, 0.44, 0.55
    logits = torch.stack([equal, doubt, vague]).log() + torch.tensor([[0.0], [3.0], [-7.0]])  # any constant
    by_hand = [0, -2.302585 - (-0.616186 - 0.820981 + 8 * -5.991465) / 10, -2.302585 - (-0.597837 + 9 * -2.995732) / 10]
    assert scores.rejection_score(logits.numpy()).tolist() == pytest.approx(by_hand, abs=1e-4)
    assert by_hand[1] > 5 * by_hand[2]  # although the least confident of the two is the doubt
    assert (scores.rejection_score(np.full((3, 10), 0.3)) >= 0).all()  # not rejected where nothing is


def test_the_names_of_qmnist_streamlit(one, tmp_path, trained, small_recipe):
    checkpoints.save(tmp_path / "mnist_model.pth", trained[0], small_recipe, {})
    model = recognizer.load_model(tmp_path / "mnist_model.pth")
    digit, confidence = recognizer.test_single_image(model, one)
    assert digit in range(10) and 0 < confidence <= 1
    assert recognizer.test_single_image(trained[0], one) == (digit, confidence)


@pytest.mark.parametrize(
    "calibration",
    [
        *({"temperature": wrong, "rejection_threshold": 0.2}
          for wrong in (0, -1, 1e9, float("nan"), float("inf"), "hot", "2", True, None, [1])),
        *({"temperature": 2.0, "rejection_threshold": wrong}
          for wrong in (None, -0.1, float("nan"), float("inf"), "0.5", False)),
        {"temperature": 2.0, "min_confidence": 0.5}, {}, [1], "hot", 3,
    ],
    ids=str,
)  # fmt: skip
def test_the_calibration_is_kept_with_the_network_and_refused_if_unusable(calibration, tmp_path):
    path, recipe = tmp_path / "a.pth", recipes.get("mlp_128_adam")
    usable = {"temperature": 2.0, "rejection_threshold": 0.2, "rejection_rate": 0.01}
    checkpoints.save(path, models.build(recipe), recipe, {"calibration": usable})
    loaded = Recognizer.load(path)
    assert (loaded.temperature, loaded.rejection_threshold) == (2.0, 0.2)
    checkpoints.save(path, models.build(recipe), recipe, {"calibration": calibration})
    with pytest.raises(UserError, match="has no usable calibration"):
        Recognizer.load(path)


def test_logits_that_are_not_finite_are_no_digit(one, network):
    broken = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    torch.nn.init.constant_(broken[1].weight, 3e38)  # finite, and yet no answer is
    prediction = Recognizer(broken).predict(one)
    assert (prediction.digit, prediction.reason) == (None, "not like a digit")


def test_softmax_networks_are_read_as_probabilities(one, tmp_path):
    recipe = recipes.get("mlp_128_64_adam_10ep_softmax")
    model = models.build(recipe)
    checkpoints.save(tmp_path / "a.pth", model, recipe, {})
    prediction = Recognizer.load(tmp_path / "a.pth").predict(one)
    expected = evaluation.predict(model, torch.from_numpy(prediction.image)[None])[0]
    assert prediction.probabilities == pytest.approx(expected.tolist(), abs=1e-4)


def test_the_temperature_that_was_put_in_is_found():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(5000, 10, generator=generator) * 2
    labels = torch.multinomial(true.softmax(1), 1, generator=generator).flatten()
    for temperature in (0.5, 1.0, 3.0):
        assert calibration.fit_temperature(true * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_calibration_error_of_a_worked_example():
    """Ten answers with 0.75, of which six are right, and ten with 0.95, all right: (10 x 0.15 + 10 x 0.05) / 20."""
    probabilities = torch.zeros(20, 10)
    probabilities[:10, 3:5], probabilities[10:, 3:5] = torch.tensor([0.75, 0.25]), torch.tensor([0.95, 0.05])
    labels = torch.tensor([3] * 6 + [0] * 4 + [3] * 10)
    assert calibration.calibration_error(probabilities, labels) == pytest.approx(0.1)


def test_the_shipped_network_is_calibrated(mnist, network):
    logits = torch.from_numpy(network.logits(mnist.test.images.numpy())) / network.temperature
    assert calibration.calibration_error(logits.softmax(1), mnist.test.labels) <= 0.005
    assert evaluation.score(logits, mnist.test.labels).accuracy >= 0.995


def test_the_shipped_network_answers_doubts_and_refuses_outliers(mnist, network):
    """Of the test digits it refuses few, and none that it takes for one of two."""
    logits = torch.from_numpy(network.logits(mnist.test.images.numpy()))
    rejected = torch.from_numpy(scores.rejection_score(logits.numpy())) < network.rejection_threshold
    assert rejected.double().mean() <= 0.005
    probabilities = (logits / network.temperature).softmax(1)
    second, largest_two = probabilities.topk(2).values[:, 1], probabilities.topk(2).values.sum(1)
    is_doubt = (second >= MIN_ALTERNATIVE) & (largest_two >= 0.9)
    assert is_doubt.sum() > 30 and not (is_doubt & rejected).any()
    right = (probabilities >= MIN_ALTERNATIVE)[torch.arange(10_000), mnist.test.labels]
    assert right[is_doubt].double().mean() >= 0.95  # the answer or its alternative


def test_the_rejection_score_tells_outliers_better_than_the_confidence(mnist, network):
    """Where each refuses one in a hundred of the same augmented digits. Damage is left out, as by the calibration."""
    pixels, labels = data.to_pixels(mnist.test.images[:4000]), mnist.test.labels[:4000]
    settings = dataclasses.replace(recipes.get(recognizer.SHIPPED).augmentation, damage=0)
    digits = augmentation.augment(pixels, settings, generator(), labels)
    made = outliers.make_outliers(digits, labels, 4200, generator())[420:]  # without halves, some of which are digits
    model = checkpoints.pretrained(recognizer.SHIPPED).model
    with torch.inference_mode():
        digits, made = model(digits), model(augmentation.augment(made, settings, generator()))

    def accepted(score) -> float:
        return float((score(made) >= score(digits).quantile(0.01)).double().mean())

    by_confidence = accepted(lambda logits: (logits / network.temperature).softmax(1).amax(1))
    by_score = accepted(lambda logits: torch.from_numpy(scores.rejection_score(logits.numpy())))
    assert by_score < 0.75 * by_confidence and by_score < 0.065


def test_the_temperature_is_fitted_on_augmented_digits(trained, optdigits):
    assert calibration.calibrate(trained[0], optdigits, Augmentation()) is None  # without validation digits
    held_out = dataclasses.replace(optdigits, validation=optdigits.test)
    logits = evaluation.predict(trained[0], optdigits.test.images)
    plain = calibration.calibrate(trained[0], held_out, Augmentation())
    assert plain["temperature"] == calibration.fit_temperature(logits, optdigits.test.labels)
    rejected = scores.rejection_score(logits.numpy()) < plain["rejection_threshold"]
    assert plain["rejection_rate"] == rejected.mean() <= 0.01
    varied = [calibration.calibrate(trained[0], held_out, Augmentation(rotation=30, shift=3)) for _ in range(2)]
    assert varied[0]["temperature"] > plain["temperature"]  # a network that never saw such digits is too sure of them
    assert varied[0] == varied[1]
