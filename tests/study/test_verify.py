"""python -m digit_recognizer verify: a record's run trained again is bitwise equal, within tolerance, or different."""

import itertools
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from digit_recognizer import data, evaluation, models, recipes, records, training
from digit_recognizer.recipes.recipe import Augmentation, Convolution
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.study import run
from digit_recognizer.study import verify as study_verify

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "results" / "mlp_128_adam" / "mnist-seed0.json"


SMALL = recipes.get("mlp_128_adam", dataset="optdigits", epochs=3)


@pytest.fixture(scope="module")
def made(optdigits) -> dict:
    """The record of a run of SMALL. Do not change it."""
    choose_device("cpu", 1)
    return run.train(SMALL, optdigits, 0)[0]


@pytest.fixture
def verify(command, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """verify(record, flag, ...) writes a record and has it verified: status, output, error."""

    def call(record: dict, *flags) -> tuple[int, str, str]:
        records.save(tmp_path / "record.json", record)
        return command("verify", tmp_path / "record.json", *flags)

    return call


def changed(record: dict, **fields) -> dict:
    """A copy of a record with other values; of scores, settings and made_with only those that are named."""
    copy = json.loads(json.dumps(record))
    for field, value in fields.items():
        copy[field] = copy[field] | value if isinstance(value, dict) else value
    return copy


def verdict_of(out: str) -> str:
    """The word before the colon of the last line."""
    return out.splitlines()[-1].split(":")[0]


# Bitwise


def test_a_run_trained_again_is_bitwise_equal(verify, made):
    status, out, error = verify(made)
    assert (status, error, verdict_of(out)) == (0, "", "bitwise")
    (differences,) = [line for line in out.splitlines() if line.startswith("differences in provenance: ")]
    assert not re.search(r" then, | now(?!:)", differences)  # uncommitted changes may be there, then and now
    assert [line.split()[1] for line in out.splitlines() if line.startswith("epoch")] == ["1/3", "2/3", "3/3"]


@pytest.mark.usefixtures("no_network")
def test_a_record_of_the_main_command_is_reproduced_bitwise(command, monkeypatch, tmp_path):
    """On the embedded set, which is not the recipe's own."""
    name = "mlp_128_adam"
    script = ROOT / "mnist_recognition.py"
    flags = ["--recipe", name, "--data-dir", str(tmp_path / "none"), "--out", str(tmp_path), "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", [str(script), *flags, "--device", "cpu", "--quiet"])
    runpy.run_path(str(script), run_name="__main__")
    status, out, _ = command("verify", tmp_path / "runs" / name / "optdigits-seed0.json")
    assert (status, verdict_of(out)) == (0, "bitwise")
    assert f"{name} on optdigits, seed 0" in out


def test_a_record_with_every_feature_of_a_recipe_is_reproduced_bitwise(verify):
    """Augmentation, outliers, a validation part, batch normalisation, bfloat16 and a schedule."""
    fields = {"outlier_fraction": 0.1, "epochs": 2, "epochs_without_augmentation": 1, "validation": True}
    small = {
        "convolutions": (Convolution(4, size=6, stride=2, pool=True),),
        "widths": (144, 10),
        "dataset": "optdigits",
    }
    strengths = Augmentation(rotation=10, elastic=1, stroke=0.5, styles=0.2)
    recipe = recipes.get("cnn_in_seconds", augmentation=strengths, **small, **fields)
    choose_device("cpu", 1)
    status, out, _ = verify(run.train(recipe, data.load("optdigits", validation=True), 7)[0])
    assert (status, verdict_of(out)) == (0, "bitwise")


@pytest.mark.usefixtures("mnist")
def test_a_committed_record_is_reproduced(command):
    status, out, _ = command("verify", COMMITTED)
    assert status == 0 and verdict_of(out) in ("bitwise", "within tolerance")
    assert re.search(r"commit: [0-9a-f]{7} then, [0-9a-f]{7} now", out)
    assert "not recorded then: version of this project, numpy, " in out


# Within tolerance


def test_another_processor_and_number_of_threads_are_within_tolerance_and_are_named(made, tmp_path):
    """As a processor without wide instructions, for which PyTorch takes its default kernels."""
    records.save(tmp_path / "record.json", made)
    variables = os.environ | {"ATEN_CPU_CAPABILITY": "default"}
    command = [sys.executable, "-m", "digit_recognizer", "verify", str(tmp_path / "record.json"), "--threads", "2"]
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stderr) == (0, "") and "threads: 1 then, 2 now" in ran.stdout
    wide = made["made_with"]["instructions"]
    assert wide == "DEFAULT" or f"instruction set: {wide} then, DEFAULT now" in ran.stdout


def test_float64_is_within_tolerance_and_another_seed_is_not(optdigits, made):
    """Twice as many digits in each sum: other roundings of the same training, whatever the machine."""
    model, history = training.fit(Float64(), optdigits, SMALL, 0, quiet=True)
    scores = evaluation.score(evaluation.predict(model, optdigits.test.images), optdigits.test.labels)
    exact = {"weights": provenance.weights_hash(model), "history": history, "scores": records.scores_as_dict(scores)}
    assert study_verify.compare(made, made | exact)[0] == "within tolerance"
    assert study_verify.compare(made, changed(made, weights="0" * 64))[0] == "within tolerance"
    for seed in range(1, 6):
        assert study_verify.compare(made, run.train(SMALL, optdigits, seed)[0])[0] == "different"


class Float64(torch.nn.Module):
    """The network of SMALL, seed 0, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = models.build(SMALL, 0).double()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.inner(pixels.double())


def test_help_says_how_well_the_tolerance_separates_rounding_from_seeds(command):
    """Of all pairs of committed seeds of a recipe, how many would be taken for the same run."""
    said = " ".join(command("verify", "--help")[1].split())
    for precision, (loss, errors) in study_verify.FIRST_EPOCH_TOLERANCE.items():
        pairs = []
        for folder in sorted((ROOT / "results").iterdir()):
            found = [json.loads(path.read_text()) for path in sorted(folder.glob("mnist-seed*.json"))]
            pairs += itertools.combinations([one for one in found if one["settings"]["precision"] == precision], 2)
        taken = [study_verify.compare(one, other)[0] for one, other in pairs].count("within tolerance")
        assert f"in {taken} of {len(pairs)} {'pairs ' if precision == 'float32' else ''}in {precision}" in said
        assert f"{100 * loss:g}%" in said and f"{100 * errors:g}%" in said
        assert taken < len(pairs) / 2
    assert f"the test errors differ by at most {study_verify.TEST_ERROR_TOLERANCE:.0%}" in said


# Different


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 1},
        {"settings": {"learning_rate": 0.002}},
        {"settings": {"mean": 0.5, "std": 0.5}},
        {"settings": {"widths": [784, 64, 10]}},
    ],
    ids=str,
)
def test_a_record_of_another_training_is_different(verify, made, fields):
    status, out, error = verify(changed(made, **fields))
    assert (status, error, verdict_of(out)) == (1, "", "different")


def test_changed_numbers_are_different_although_the_weights_are_equal(made):
    scores = ({"loss": 0.1}, {"correct": 342, "accuracy": 342 / 360}, {"mean_of_batch_means": 0.1})
    records_of = [changed(made, scores=each) for each in scores]
    for epoch in range(3):
        records_of.append(changed(made))
        records_of[-1]["history"][epoch]["train_loss"] *= 1.0001
    for record in records_of:
        verdict, reason = study_verify.compare(record, made)
        assert verdict == "different"
        assert reason.startswith("the weights are bitwise equal, but the record's numbers are not theirs")


# Possible reasons


def test_other_data_are_reported_before_training(verify, made):
    status, out, _ = verify(changed(made, md5={"optdigits": "0" * 32}))
    lines = out.splitlines()
    assert "other data, by the MD5s of optdigits" in lines[1] and lines[2].startswith("epoch 1/3")
    assert "differences in provenance: other data, by the MD5s of optdigits" in out
    assert status == 0  # the training itself is the same here, for it is the record that was changed


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ({"torch": "1.0"}, "torch: 1.0 then, "),
        ({"package": "0.0.1"}, "version of this project: 0.0.1 then, "),
        ({"device_name": "Z80"}, "processor: Z80 then, "),
        ({"commit": "f" * 40}, "commit: fffffff then, "),
        ({"commit": None}, "commit: None then, "),
        ({"changed": True}, "then: uncommitted changes of the package"),
    ],
)
def test_differences_in_provenance_are_named(then, words, made):
    now = changed(made, made_with={"commit": "e" * 40, "changed": False})["made_with"]
    assert any(words in line for line in study_verify.provenance_differences(now | then, now))
    assert study_verify.provenance_differences(now, now) == []


def test_a_run_on_a_device_that_is_not_here_is_trained_on_the_cpu(verify, made):
    status, out, _ = verify(changed(made, made_with={"device": "abacus", "processes": 2}))
    assert (status, verdict_of(out)) == (0, "bitwise")
    assert "device: abacus then, cpu now; processes: 2 then, 1 now" in out


# Mistakes


def test_a_file_that_is_not_a_record_costs_one_line(command, tmp_path, made):
    whole = json.dumps(made)
    wrong = [
        {"history": []}, {"history": made["history"][:-1]}, {"format": 1}, {"seed": "zero"}, {"seed": -1},
        {"seed": True}, {"scores": None}, {"scores": {"accuracy": 0.99999}}, {"scores": {"count": 0}},
        {"scores": {"loss": float("inf")}}, {"settings": {"augmentation": {}}}, {"settings": {"mood": "good"}},
        {"settings": {"widths": None}},
    ]  # fmt: skip
    texts = [
        "",
        "seed 0",
        "[]",
        "5",
        "[" * 100_000,
        "{}",
        whole[: len(whole) // 2],
        json.dumps(made | {"made_with": {}}),
    ]
    texts += [json.dumps(changed(made, **fields)) for fields in wrong]
    path = tmp_path / "record.json"
    said = f"error: {path} is not a complete record of a run; give one that training or study wrote\n"
    for content in (bytes(range(256)), *map(str.encode, texts)):
        path.write_bytes(content)
        assert command("verify", path) == (2, "", said), content[:100]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": ["0" * 64] * 3}, "is of an ensemble; verify the records of its members"),
        ({"format": 1000}, "was made by a newer version of this project (format 1000); update it"),
        ({"recipe": "mlp_128_adan"}, "cannot be trained again: unknown recipe 'mlp_128_adan'; the nearest is"),
        ({"settings": {"epochs": 0}}, "cannot be trained again: epochs must be greater than zero and finite, not 0"),
        ({"settings": {"epochs": 3.0}}, "cannot be trained again: epochs must be a whole number, not 3.0"),
        ({"settings": {"widths": "wide"}}, "cannot be trained again: widths must be whole numbers"),
        ({"dataset": "letters"}, "unknown data set 'letters'"),
        ({"made_with": {"threads": 5000}}, "threads must be at least 1 and at most 1,024, not 5000"),
    ],
)
def test_a_record_that_cannot_be_trained_again_costs_one_line(verify, made, fields, words):
    status, out, err = verify(changed(made, **fields))
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("verify", "--threads", "1"), "required: RECORD"),
        (("verify", "nowhere.json"), "cannot read nowhere.json: No such file or directory"),
        (("verify", "."), "cannot read .: "),
        (("verify", "a.json", "--threads", "0"), "must be a whole number of at least 1, not '0'"),
        (("verify", "a.json", "--epochs", "1"), "unrecognized arguments: --epochs 1"),
        (("verify", COMMITTED, "--data-dir", COMMITTED), "is a file, not a folder"),
    ],
    ids=str,
)
def test_a_mistake_ends_in_one_line_and_status_two(command, arguments, words):
    status, out, err = command(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err


@pytest.mark.usefixtures("no_network")
def test_a_data_set_that_cannot_be_had_costs_one_line(command, tmp_path):
    status, _, err = command("verify", COMMITTED, "--data-dir", tmp_path)
    assert status == 2 and err.startswith("error: MNIST is not in") and err.count("\n") == 1
