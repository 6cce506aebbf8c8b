# Set-up and the common jobs. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TOOLS := $(VENV)/.tools
WORKERS ?= -n 2 --dist worksteal
PACKS := boat_core boat_ops_gm boat_ops_na boat_ops_fo extras/boat_view extras/boat_author plugins_example
MORE := extras/boat_compat extras/boat_ray

.DEFAULT_GOAL := help
.PHONY: help install tools demo test nightly lint types pytest docs bench peers benchmark references solvers clean

help: ## List what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## Make a virtual environment with our packs and what the examples need

tools: $(TOOLS) ## Add the other extras and what the tests need

$(INSTALLED): pyproject.toml $(PACKS:%=%/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PACKS:%=-e ./%) -e '.[examples]'
	touch $@

$(TOOLS): $(INSTALLED) $(MORE:%=%/pyproject.toml)
	$(BIN)/python -m pip install --quiet $(PACKS:%=-e ./%) $(MORE:%=-e ./%) -e '.[dev]'
	touch $@

demo: install ## Clean corrupted digits: the main job
	$(BIN)/boat run examples/hyper_cleaning.yaml

test: lint types pytest ## Lint, check types, run the tests with branch coverage

nightly: SELECTION = -m "" --fused
nightly: lint types pytest ## The same with the slow tests, which show in other ways what faster ones show

lint: tools ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: tools ## Check types
	$(BIN)/mypy

pytest: tools ## Run the tests, print branch coverage
	$(BIN)/python -m pytest $(WORKERS) $(SELECTION) --cov --cov-report=term:skip-covered

docs: tools ## Bring docs/operations.md, docs/reference.md and README's picture up to date
	$(BIN)/python docs/generate.py --write
	$(BIN)/python docs/pipeline.py --write

bench: install ## Time and memory of a hypergradient, with our operators and without
	$(BIN)/python benchmarks/hypergradient.py
	$(BIN)/python benchmarks/operators.py --first --profile --write docs/operators.md

peers: .peers/torch/.installed .peers/jax/.installed ## Make the environments of the systems that we compare with

.peers/%/.installed: benchmarks/peers/requirements-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet -r $<
	touch $@

benchmark: install peers ## Compare with those systems (40 minutes); writes docs/benchmark.md
	$(BIN)/python benchmarks/peers --write docs/benchmark.md --plot docs/benchmark.png

references: install peers ## Our optimizers beside PyTorch's and optax's; writes docs/optimizers.md, figures for the tests
	$(BIN)/python benchmarks/optimizers --record --write docs/optimizers.md

solvers: install ## Every valid solver: cost, time, convergence; writes docs/solvers.md
	$(BIN)/python benchmarks/solvers.py --write docs/solvers.md --plot docs/convergence.png

clean: ## Remove the environment, caches and runs
	rm -rf $(VENV) .peers runs .pytest_cache .mypy_cache .ruff_cache .coverage
