"""The framework comparison: the same network by each library, in processes of their own; results and table."""

import json
import statistics
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import __main__ as benchmarks_main
from benchmarks import compare_frameworks, frameworks, harness
from digit_recognizer import data, models, recipes, training
from digit_recognizer.cli.parser import run_main
from digit_recognizer.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
OPTIONAL = ("skorch", "lightning", "keras", "jax")


def run(seconds: float, accuracy: float | None = 0.97) -> dict:
    """One training, as its process reports it."""
    return {"seconds": seconds, "epochs": [seconds / 2, seconds / 4, seconds / 4], "accuracy": accuracy}


@pytest.fixture
def runs() -> dict:
    """Two rounds: ours is faster with two threads, the lower bound with one."""
    return {
        "ours": {"1": [run(6.0), run(8.0)], "2": [run(4.0), run(5.0)]},
        "jax": {"1": [run(9.0), run(9.0)], "2": [run(8.0), run(6.0)]},
        "lower_bound": {"1": [run(2.0, None)] * 2, "2": [run(3.0, None)] * 2},
    }


@pytest.mark.parametrize("name", ["scikit-learn", "lower_bound"])
def test_a_framework_trains_the_network(name, optdigits):
    result = frameworks.train(name, optdigits, recipes.get("mlp_128_adam", epochs=3))
    assert json.loads(json.dumps(result)) == result  # plain types
    assert len(result["epochs"]) == 3 and 0 < sum(result["epochs"]) <= result["seconds"] + 1e-9
    assert result["accuracy"] is None if name == "lower_bound" else result["accuracy"] > 0.85


def test_the_dataloader_loop_trains_the_network(mnist):
    few = data.Digits("mnist", data.Split(*(part[:1280] for part in mnist.train)), None, mnist.test, {})
    result = frameworks.train("dataloader", few, recipes.get(epochs=2))
    assert len(result["epochs"]) == 2 and result["accuracy"] > 0.7


@pytest.mark.parametrize("name", ["ours", *OPTIONAL])
def test_a_framework_trains_in_a_process_of_its_own(name, mnist):
    if name not in compare_frameworks.installed()[0]:
        pytest.skip(f"{name} is optional: pip install -e .[frameworks]")
    result = compare_frameworks.train_in_process(name, threads=1, epochs=2, count=3_010)  # 47 batches of 64, one of 2
    assert len(result["epochs"]) == 2 and 0 < sum(result["epochs"]) <= result["seconds"]
    assert result["accuracy"] > 0.8


def test_jax_takes_the_steps_that_pytorch_takes(optdigits):
    jax = pytest.importorskip("jax", reason="optional: pip install -e .[frameworks]")
    recipe = recipes.get("mlp_128_adam")
    model = models.build(recipe)
    state = frameworks.jax_state(model)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))  # three batches of 64 and one of 8
    optimizer = training.make_optimizer(model, recipe)
    for batch in order.split(recipe.batch_size):
        images, labels = optdigits.train.take(batch)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.to_pixels(images)), labels).backward()
        optimizer.step()
    pixels = frameworks._pixels(optdigits.train.images[:200], recipe).numpy()
    epoch = jax.jit(frameworks.jax_epoch(recipe))
    weights = epoch(state, order.numpy(), pixels, optdigits.train.labels[:200].numpy())[0]
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    for layer, (matrix, bias) in zip(layers, weights, strict=True):
        torch.testing.assert_close(torch.tensor(matrix.tolist()).t(), layer.weight.detach(), rtol=0, atol=2e-5)
        torch.testing.assert_close(torch.tensor(bias.tolist()), layer.bias.detach(), rtol=0, atol=2e-5)


def test_a_failing_process_gives_the_reason():
    with pytest.raises(UserError, match=r"--threads must be from 1 to the number of cores, \d+, not 100000"):
        compare_frameworks.validate_threads(100_000)
    with pytest.raises(UserError, match="ours failed: --count must be from 64, a batch, to 60,000, not 0"):
        compare_frameworks.train_in_process("ours", 1, 1, 0)


def test_what_is_not_installed_is_named_and_left_out(monkeypatch, capsys, tmp_path):
    real = compare_frameworks._version
    monkeypatch.setattr(compare_frameworks, "_version", lambda package: None if package in OPTIONAL else real(package))
    assert compare_frameworks.installed() == (["ours", "dataloader", "scikit-learn", "lower_bound"], [*OPTIONAL])
    assert list(compare_frameworks.PACKAGES) == list(frameworks.FRAMEWORKS)
    calls = []
    monkeypatch.setattr(compare_frameworks, "train_in_process", lambda *given: calls.append(given) or run(1.0))
    compare_frameworks.run(tmp_path, "folder", threads=1, quick=True)
    assert [name for name, *_ in calls] == compare_frameworks.installed()[0]
    assert {tuple(settings) for _, *settings in calls} == {(1, 1, 6_000, "folder")}
    printed = capsys.readouterr().out
    assert "left out: skorch, lightning, keras, jax; install them: pip install -e .[frameworks]" in printed
    assert not list(tmp_path.iterdir())  # quick saves nothing


def test_each_counts_at_its_faster_setting(runs):
    numbers = compare_frameworks.summary(runs)
    assert numbers["fastest_threads"] == {"ours": 2, "jax": 2, "lower_bound": 1}
    assert numbers["median"] == {"ours": 4.5, "jax": 7.0, "lower_bound": 2.0}
    assert numbers["ratios"] == {"ours": [1.0, 1.0], "jax": [2.0, 1.2], "lower_bound": [0.5, 0.4]}
    assert numbers["steady_epoch"]["jax"] == statistics.median([2.0, 2.0, 1.5, 1.5])
    assert numbers["accuracy"] == {"ours": 0.97, "jax": 0.97, "lower_bound": None}


def test_the_table_has_a_line_for_each_and_reports_a_busy_machine(runs):
    versions = {name: {"x": "1.0"} for name in runs}
    result = {"what": "seconds", **compare_frameworks.summary(runs), "missing": ["keras"], "versions": versions}
    lines = compare_frameworks.table(result).splitlines()
    jax, lower_bound = (" ".join(line.split()) for line in lines[3:5])
    assert jax == "jax 2 7.00 (6.00 to 8.00) 1.75 1.60 (1.20 to 2.00) 97.00% x 1.0"
    assert lower_bound == "lower_bound 1 2.00 (2.00 to 2.00) 0.50 0.45 (0.40 to 0.50) x 1.0"
    assert lines[5:] == ["left out: keras"]
    runs["jax"]["1"][0]["seconds"] = 20.0
    assert compare_frameworks.table(result | {"runs": runs}).endswith("run again: jax with 1 thread")


@pytest.mark.parametrize("content", ["[1]", "", '{"training_time": []}', '{"frameworks": 0}', "{"])
def test_a_file_with_other_content_is_reported(content, tmp_path):
    (tmp_path / "benchmark.json").write_text(content)
    with pytest.raises(UserError, match="does not hold results of benchmarks; delete it"):
        harness.load_results(tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--threads", "1"], "--threads goes with frameworks only, not with epoch"),
        (["scaling", "--quick"], "--quick goes with contention, frameworks, gpu only, not with scaling"),
        (["frameworks", "--device", "cpu"], "--device goes with gpu only, not with frameworks"),
        (["scaling", "--figure", "speed.png"], "argument --figure: not allowed with argument BENCHMARK"),
        (["--figure", "speed.png", "--rounds", "1"], "--figure takes no --rounds"),
        (["contend"], "argument BENCHMARK: invalid choice: 'contend'"),
        (["gpu", "--device", "tpu"], "unknown device 'tpu'; there are auto, cuda, mps, cpu"),
    ],
)
def test_arguments_that_do_not_go_together_cost_one_line(flags, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", *flags])
    with pytest.raises(SystemExit, match="2"):
        run_main(benchmarks_main.main)
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}") and error.count("\n") == 1


def test_frameworks_and_settings_take_turns_and_are_saved_beside_other_results(monkeypatch, capsys, tmp_path):
    order = []
    monkeypatch.setattr(compare_frameworks, "installed", lambda: (["ours", "jax"], ["keras"]))
    monkeypatch.setattr(compare_frameworks, "validate_threads", lambda threads: threads)
    monkeypatch.setattr(compare_frameworks, "train_in_process", lambda *given: order.append(given[:2]) or run(2.0))
    harness.save_results(tmp_path, {"rounds": 6, "median": {"ours": 1.0}})
    harness.save_results(tmp_path, {"rounds": 7})
    compare_frameworks.run(tmp_path, rounds=3, threads=2)
    assert order == [("ours", 1), ("ours", 2), ("jax", 1), ("jax", 2)] * 3
    results = harness.load_results(tmp_path)
    assert (results["rounds"], results["median"]) == (7, {"ours": 1.0})
    saved = results["frameworks"]
    assert saved["runs"]["jax"] == {"1": [run(2.0)] * 3, "2": [run(2.0)] * 3}
    assert saved["rounds"] == 3 and saved["made_with"]["threads"] == [1, 2]
    assert saved["versions"]["ours"] == compare_frameworks.versions("ours")
    assert compare_frameworks.table(saved) in capsys.readouterr().out


def test_the_page_on_speed_quotes_both_machines():
    page = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    records = [
        json.loads((ROOT / path).read_text())["frameworks"]
        for path in ("results/benchmark.json", "results/trials/second_machine.json")
    ]
    for name, called in {"jax": "JAX, one compiled loop", "ours": "ours", "scikit-learn": "scikit-learn"}.items():
        medians = [record["median"][name] for record in records]
        cells = " | ".join(f"{median:.1f}" if median < 9.95 else f"{median:.0f}" for median in medians)
        assert f"| {called} | {cells} |" in page
    for name, called in {"jax": "JAX", "lower_bound": "the lower bound"}.items():
        ours = [harness.format_spread([1 / ratio for ratio in record["ratios"][name]]) for record in records]
        assert f"| ours against {called} | {' | '.join(ours)} |" in page
