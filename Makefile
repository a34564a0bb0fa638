# Everything that people and CI run. Needs python 3.11 to 3.13 with pip, and make; nothing else.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PINS := pyproject.toml constraints.txt
# Arguments for the commands below: make bench ARGS=--full
ARGS ?=
# How many processes share the tests: one more than the cores, since most tests wait for servers.
PROCESSES ?= 3

# Exit code 5 of pytest: no test was found. That is well where ARGS asks for some, which are in one half.
IF_ANY = $(if $(ARGS),|| [ $$? = 5 ])

# Where the environment forbids bytecode, each process that a command or a test starts would compile all that it
# loads anew: a quarter of its start.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test chaos check bench train clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/stamp-stack ## scan real clips and a forged copy, then send two of them through a whole fleet
	$(BIN)/fakesieve demo $(ARGS)
	$(BIN)/fakesieve demo-fleet $(ARGS)

# Processes share the files of tests, each with servers of its own; what breaks or times processes for minutes
# comes after them, alone.
test: $(VENV)/stamp-test ## run the whole test suite; installs training and all engines first; PROCESSES=0 for one
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations=15 \
		-m 'not alone' $(ARGS) $(IF_ANY)
	$(BIN)/python -m pytest --durations=5 -m alone -o faulthandler_timeout=1800 $(ARGS) $(IF_ANY)

chaos: $(VENV)/stamp-test ## break a running fleet in 42 ways and count what was lost; ARGS='--seed 4711'
	$(BIN)/python -m tests.chaos.campaign $(ARGS)

check: $(VENV)/stamp-test $(VENV)/stamp-dev ## format, lint, types, import rules, sizes, migrations: what CI runs first
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python tools/check_shape.py
	$(BIN)/python tools/check_migrations.py
	$(BIN)/python tools/openapi.py --check
	$(BIN)/python -m pytest -q tests/contracts/test_imports.py

bench: $(VENV)/stamp-test ## compare with two peers on the same clips and weights; ARGS=--full for the long setting
	$(BIN)/python -m bench.run $(ARGS)

train: $(VENV)/stamp-train ## train a model: make train ARGS="FACES --out DIR"
	$(BIN)/fakesieve train $(ARGS)

clean: ## remove the environment, caches and everything that the commands above made
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist demo-out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A machine may have pip but not the package that venv takes pip from; pip then installs itself.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "hint: install python 3.11, 3.12 or 3.13, or set PYTHON=/path/to/it" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
		&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

# A stamp per extra: a second run installs nothing, and no run takes away what another one added.
$(VENV)/stamp-base: $(PINS) | $(BIN)/python
	@echo "installing fakesieve into $(VENV); later runs skip this"
	$(PIP) --editable .
	@touch $@

$(VENV)/stamp-train $(VENV)/stamp-dev $(VENV)/stamp-stack: $(VENV)/stamp-%: $(PINS) | $(BIN)/python
	@echo "installing fakesieve with the extra '$*' into $(VENV), a minute or two; later runs skip this"
	$(PIP) --editable '.[$*]'
	@touch $@ $(VENV)/stamp-base

# facenet-pytorch is the yardstick of the parity tests; its metadata contradicts torch, hence --no-deps.
$(VENV)/stamp-test: $(PINS) | $(BIN)/python
	@echo "installing fakesieve with training, all engines and the test tools into $(VENV)"
	$(PIP) --editable '.[test]'
	$(PIP) --no-deps facenet-pytorch==2.6.0
	@touch $@ $(VENV)/stamp-base $(VENV)/stamp-train $(VENV)/stamp-stack
