# Everything a newcomer needs: `make run` trains the published network, `make test` tests everything.
# Each target first makes .venv, with plain venv and pip, where it is missing or the dependency files have changed.

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
  BIN := $(VENV)/Scripts
else
  BIN := $(VENV)/bin
endif
READY := $(VENV)/ready

.PHONY: help run test stress notebook figures pictures study bench lint clean
.DEFAULT_GOAL := help

help:  ## show this
	@echo "make run        train the published network and score it   (flags: make run ARGS='--list')"
	@echo "make test       run all tests on all cores, the notebooks included   (one: make test ARGS=tests/test_models.py)"
	@echo "make stress     run the long tests of docs/testing.md; about an hour"
	@echo "make notebook   open the story in Jupyter"
	@echo "make figures    draw the figures of this repository again, from MNIST"
	@echo "make pictures   take the pictures of window and pages again, with Chromium and Xvfb"
	@echo "make study      train all seeds behind the published numbers; skips finished runs, continues stopped ones"
	@echo "make bench      time the training loop beside the usual one"
	@echo "make lint       check format, style and types"
	@echo "make clean      remove what the targets made; data, models and records stay"

$(READY): requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@echo ready > $(READY)

run: $(READY)  ## the main job
	$(BIN)/python mnist_recognition.py $(ARGS)

# A worker takes a stretch of the tests, so that what a file's tests share is mostly made once, and helps out when done.
test: $(READY)
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal $(ARGS)

stress: $(READY)
	DIGITS_STRESS=1 $(BIN)/python -m pytest -s -n 0 tests/stress $(ARGS)

notebook: $(READY)
	$(BIN)/python -m jupyter lab MNIST_Recognition_machine.ipynb

figures: $(READY)
	$(BIN)/python mnist_recognition.py --dataset mnist
	$(BIN)/digits figures
	$(BIN)/python -m benchmarks --figure figures/speed.png

pictures: $(READY)
	PYTHONPATH=.:tests $(BIN)/python tests/apps/pictures.py

study: $(READY)
	$(BIN)/digits study $(ARGS)

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy src

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache build *.egg-info src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
