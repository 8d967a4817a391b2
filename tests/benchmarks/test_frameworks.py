"""The peers train the same network, each in a process of its own; their numbers are kept and shown as they came."""

import json
import os
import statistics

import pytest
import torch
from torch import nn

from benchmarks import __main__ as benchmarks_main
from benchmarks import compare_frameworks, frameworks, harness
from digit_recognizer import data, models, optimizers, recipes
from digit_recognizer.runtime.errors import UserError

OPTIONAL = ("skorch", "lightning", "keras", "jax")


@pytest.fixture
def runs() -> dict:
    """Two rounds, as processes report them: ours is faster with two threads, the limit with one."""
    said = {
        "ours": {"1": (6.0, 8.0), "2": (4.0, 5.0)},
        "jax": {"1": (9.0, 9.0), "2": (8.0, 6.0)},
        "limit": {"1": (2.0, 2.0), "2": (3.0, 3.0)},
    }
    return {
        name: {
            threads: [
                {"seconds": s, "epochs": [s / 2, s / 4, s / 4], "accuracy": None if name == "limit" else 0.97}
                for s in seconds
            ]
            for threads, seconds in of.items()
        }
        for name, of in said.items()
    }


@pytest.fixture
def result(runs) -> dict:
    """What is kept of them."""
    return {
        "what": "seconds",
        **compare_frameworks.summary(runs),
        "missing": ["keras"],
        "versions": {n: {"x": "1.0"} for n in runs},
    }


@pytest.mark.parametrize("name", ["ours", "scikit-learn", "limit"])
def test_a_peer_trains_the_network(name, optdigits):
    said = frameworks.train(name, optdigits, recipes.get(epochs=3))
    assert json.loads(json.dumps(said)) == said  # plain
    assert len(said["epochs"]) == 3 and 0 < sum(said["epochs"]) <= said["seconds"] + 1e-9
    assert said["accuracy"] is None if name == "limit" else said["accuracy"] > 0.85


def test_the_usual_loop_is_a_peer_too(mnist):
    few = data.Digits("mnist", data.Split(*(part[:1280] for part in mnist.train)), None, mnist.test, {})
    said = frameworks.train("usual", few, recipes.get(epochs=2))
    assert len(said["epochs"]) == 2 and said["accuracy"] > 0.7


@pytest.mark.parametrize("name", ["scikit-learn", *OPTIONAL])
def test_a_peer_trains_in_a_process_of_its_own(name, mnist):
    if compare_frameworks.installed()[0].count(name) == 0:
        pytest.skip(f"{name} is optional: pip install -e .[peers]")
    said = compare_frameworks.in_a_process(name, threads=1, epochs=2, count=3_010)  # 47 batches of 64, one of 2
    assert len(said["epochs"]) == 2 and 0 < sum(said["epochs"]) <= said["seconds"]
    assert said["accuracy"] > 0.8


def test_jax_takes_the_steps_that_pytorch_takes(optdigits):
    jax = pytest.importorskip("jax", reason="optional: pip install -e .[peers]")
    recipe = recipes.get("mlp_128_adam")
    model = models.build(recipe)
    state = frameworks.jax_state(model)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))  # three batches of 64 and one of 8
    optimizer = optimizers.make(model, recipe)
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


def test_every_peer_has_its_packages_and_its_function():
    assert list(compare_frameworks.PACKAGES) == list(frameworks.PEERS)


def test_a_process_has_its_cores_and_says_why_it_failed():
    with pytest.raises(UserError, match=r"--threads must be from 1 to the number of cores here, \d+, not 100000"):
        compare_frameworks.check_threads(100_000)
    with pytest.raises(UserError, match="ours failed: --count must be from 64, a batch, to 60,000, not 0"):
        compare_frameworks.in_a_process("ours", 1, 1, 0)


def test_what_is_not_installed_is_named_and_left_out(monkeypatch, capsys, tmp_path):
    real = compare_frameworks._version
    monkeypatch.setattr(compare_frameworks, "_version", lambda package: None if package in OPTIONAL else real(package))
    assert compare_frameworks.installed() == (
        ["ours", "usual", "scikit-learn", "limit"],
        ["skorch", "lightning", "keras", "jax"],
    )
    asked = []

    def said(name, *settings):
        asked.append((name, *settings))
        return {"seconds": 1.0, "epochs": [1.0], "accuracy": 0.9}

    monkeypatch.setattr(compare_frameworks, "in_a_process", said)
    compare_frameworks.run(tmp_path, "there", threads=1, quick=True)
    assert [name for name, *_ in asked] == compare_frameworks.installed()[0]
    assert {tuple(settings) for _, *settings in asked} == {(1, 1, 6_000, "there")}
    printed = capsys.readouterr().out
    assert "left out: skorch, lightning, keras, jax; to have them: pip install -e .[peers]" in printed
    assert not list(tmp_path.iterdir())  # quick writes nothing


def test_peers_and_settings_take_turns(monkeypatch):
    order = []
    monkeypatch.setattr(
        compare_frameworks, "in_a_process", lambda name, threads, *_: order.append((name, threads)) or {"seconds": 1}
    )
    runs = compare_frameworks.in_turn(["ours", "jax"], [1, 2], 3, 5, 60_000)
    assert order == [("ours", 1), ("ours", 2), ("jax", 1), ("jax", 2)] * 3
    assert runs["jax"] == {"1": [{"seconds": 1}] * 3, "2": [{"seconds": 1}] * 3}


def test_each_counts_at_its_faster_setting(runs):
    numbers = compare_frameworks.summary(runs)
    assert numbers["fastest_threads"] == {"ours": 2, "jax": 2, "limit": 1}
    assert numbers["median"] == {"ours": 4.5, "jax": 7.0, "limit": 2.0}
    assert numbers["ratios"] == {"ours": [1.0, 1.0], "jax": [2.0, 1.2], "limit": [0.5, 0.4]}
    assert numbers["steady_epoch"]["jax"] == statistics.median([2.0, 2.0, 1.5, 1.5])
    assert numbers["accuracy"] == {"ours": 0.97, "jax": 0.97, "limit": None}


def test_the_table_has_a_line_for_each(result):
    lines = compare_frameworks.table(result).splitlines()
    jax, limit = (" ".join(line.split()) for line in lines[3:5])
    assert jax == "jax 2 7.00 (6.00 to 8.00) 1.75 1.60 (1.20 to 2.00) 97.00% x 1.0"
    assert limit == "limit 1 2.00 (2.00 to 2.00) 0.50 0.45 (0.40 to 0.50) x 1.0"
    assert lines[5:] == ["left out: keras"]


def test_a_machine_too_busy_to_conclude_from_is_said(runs, result):
    runs["jax"]["1"][0]["seconds"] = 20.0
    assert compare_frameworks.table(result | {"runs": runs}).endswith(
        "the machine was busy, run it again: jax with 1 thread"
    )


def test_both_benchmarks_keep_each_others_numbers(result, tmp_path):
    harness.keep(tmp_path, {"rounds": 5, "median": {"ours": 1.0}})
    harness.keep(tmp_path, {"peers": result})
    harness.keep(tmp_path, {"rounds": 6})
    assert harness.kept(tmp_path) == {"rounds": 6, "median": {"ours": 1.0}, "peers": result}


@pytest.mark.parametrize("content", ["[1]", "", '{"ladder": []}', '{"peers": 0}', "{"])
def test_what_is_no_benchmarks_result_is_said(content, tmp_path):
    (tmp_path / "benchmark.json").write_text(content)
    with pytest.raises(UserError, match="is not a benchmark's result; delete it"):
        harness.kept(tmp_path)


@pytest.mark.parametrize("flags", [["--quick"], ["--threads", "1"]])
def test_flags_that_need_peers_say_so(flags, monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmarks", *flags])
    with pytest.raises(UserError, match="go with --peers only"):
        benchmarks_main.main()


def test_a_whole_race_is_kept_beside_what_is_there(mnist, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(compare_frameworks, "installed", lambda: (["ours", "limit"], ["jax"]))
    whole = compare_frameworks.in_a_process
    monkeypatch.setattr(
        compare_frameworks, "in_a_process", lambda name, threads, epochs, count, folder: whole(name, threads, 2, 640)
    )
    harness.keep(tmp_path, {"rounds": 7})
    compare_frameworks.run(tmp_path, os.environ.get("DIGITS_DATA_DIR"), rounds=1, threads=1)
    kept = harness.kept(tmp_path)
    assert kept["rounds"] == 7 and kept["peers"]["rounds"] == 1
    assert kept["peers"]["versions"]["ours"] == compare_frameworks.versions("ours")
    assert kept["peers"]["made_with"]["threads"] == [1]
    assert compare_frameworks.table(kept["peers"]) in capsys.readouterr().out
