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

.PHONY: help run test stress notebook figures study bench lint clean
.DEFAULT_GOAL := help

help:  ## show this
	@echo "make run        train the published network, see how good it is   (flags: make run ARGS='--list')"
	@echo "make test       test everything, notebooks included"
	@echo "make stress     the long versions of the tests of trust (see docs/testing.md); about an hour"
	@echo "make notebook   open the story in Jupyter"
	@echo "make figures    make the pictures of this repository again, from MNIST"
	@echo "make study      train all seeds behind the published numbers; finished runs are skipped, stopped ones go on"
	@echo "make bench      time the training loop beside the usual one"
	@echo "make lint       check format, style and types"
	@echo "make clean      remove what the targets made, but no data, model or record of yours"

$(READY): requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@echo ready > $(READY)

run: $(READY)  ## the main job
	$(BIN)/python mnist_recognition.py $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

stress: $(READY)
	DIGITS_STRESS=1 $(BIN)/python -m pytest -s -n 0 tests/stress $(ARGS)

notebook: $(READY)
	$(BIN)/python -m jupyter lab MNIST_Recognition_machine.ipynb

figures: $(READY)
	$(BIN)/python mnist_recognition.py --dataset mnist
	$(BIN)/python -m digit_recognizer figures

study: $(READY)
	$(BIN)/python -m digit_recognizer study $(ARGS)

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy src

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
