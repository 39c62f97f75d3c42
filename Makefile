# One door: `make` lists what there is. Each target sets up what it needs; the second run is quick.
# Set-up speaks on standard error, so that `make demo ARGS="--exit --json"` prints one JSON object.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ARGS ?=
# Three at a time, for tests that wait for servers: each has services and a Spark of its own, ~4 GB.
# In the order of the folders, as files with few tests are the longest and must not come last.
WORKERS ?= 3
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo test check format bench chaos screenshots clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with the pinned dependencies and the program .venv/bin/recgraph

demo: $(INSTALLED) ## The whole flow on real sales, ending with a link (ARGS="--all", "--exit --json")
	@$(BIN)/recgraph demo $(ARGS)

test: $(INSTALLED) ## All tests; what this machine cannot run is skipped with its reason (ARGS="-k graph")
	@$(PYTEST) $(ARGS)

check: $(INSTALLED) ## Format, lint, types and tests: what CI runs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(PYTEST) $(ARGS)

format: $(INSTALLED) ## Put the code into the one format, and mend what the linter can mend
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

bench: $(INSTALLED) ## Measure ratios against MLlib and others, in one run
	@$(BIN)/python -m tests.benchmarks $(ARGS)

chaos: $(INSTALLED) ## Kill -9 everything at random during 200,000 sales, and count (ARGS="--kills 5")
	@$(BIN)/python -m tests.chaos $(ARGS)

screenshots: $(INSTALLED) ## Make the pictures of the README again
	@$(BIN)/python -m tests.dashboards.screenshots $(ARGS)

clean: ## Stop the services and remove what was built; data/ and exports/ stay
	-@if [ -x $(BIN)/recgraph ]; then $(BIN)/recgraph down; fi
	@rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "recgraph needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)." \
	    "Name another one: make install PYTHON=python3.12" >&2; exit 1; }
	@echo "installing recgraph into $(VENV); this is done once" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >&2 || { \
	  rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments:" \
	    "apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[embedded,demo,local,test]' >&2 || { \
	  echo "the dependencies could not be installed; the first run needs a network." \
	    "Try again: make install" >&2; exit 1; }
	@touch $@
