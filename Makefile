# Everything runs in .venv, which the first target that needs it makes. `make` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# A data folder may lie beside the checkout; without one, the loaders use the cache or a download.
ifndef TACITA_DATA
BESIDE := $(firstword $(wildcard ../*/data/mnist))
ifneq ($(BESIDE),)
TACITA_DATA := $(abspath $(BESIDE)/..)
export TACITA_DATA
endif
endif

# What the compiled part is made from: a change reinstalls. Python files are used where they lie.
NATIVE := pyproject.toml constraints.txt $(wildcard CMakeLists.txt) \
	$(shell find kernels -type f 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## train on MNIST, then classify it privately; ARGS="--images 1000"
	$(BIN)/python examples/secure_classification.py $(ARGS)

test: $(INSTALLED) ## run the tests; ARGS="-k mnist -x"
	$(BIN)/python -m pytest $(ARGS)

lint: $(INSTALLED) ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(INSTALLED) ## measure, some ten minutes; ARGS=--quick, ARGS="networks --help"
	$(BIN)/python -m bench $(ARGS)

clean: ## remove .venv, builds and caches
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@
