# Each goal sets up what it needs: .venv with the pinned dependencies of constraints.txt.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: setup demo test lint bench format clean

setup: .venv/ready
	@echo "Ready: $(BIN)/pkd is the command (after \`source $(BIN)/activate\` it is pkd alone); \`$(BIN)/pkd --help\` lists what it does."

demo: .venv/ready
	$(BIN)/pkd demo

test: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder --cov --cov-report=term:skip-covered --cov-fail-under=90

lint: .venv/ready
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.throughput

# the public verbs' keywords, for editors and type checkers
keywords: .venv/ready
	$(BIN)/python -m pkd.recipe.keyword_source > keyword_types.py && mv keyword_types.py src/pkd/recipe/

format: .venv/ready
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

# torch goes first: with it in place, no other package asks for another build of it
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pkd needs Python 3.11 or newer: make PYTHON=python3.12")'
	@echo "Setting up .venv once, in three steps; it takes some minutes, most of them downloads."
	@echo "1 of 3: an empty environment of $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@echo "2 of 3: torch, the largest package"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@echo "3 of 3: the other packages, in the versions of constraints.txt"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* build src/*.egg-info
