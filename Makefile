# Two commands that work on a fresh machine with Python and pip:  make demo,  make test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check format shipped clean

demo: $(VENV)/.runtime
	$(BIN)/lineup demo --output lineup-demo

test: check
	$(BIN)/lineup demo --output lineup-demo
	$(BIN)/python -m pytest

check: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Makes everything under engine/lineup/data anew; SHARED holds photos/ and generated/.
shipped: $(VENV)/.development
	PATH="$(abspath $(BIN)):$$PATH" bash models/ship.sh $(SHARED)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml
	$(PIP) --editable .
	touch $@

$(VENV)/.development: $(VENV)/.runtime constraints.txt
	$(PIP) --constraint constraints.txt --editable '.[dev,export,train]'
	touch $@

clean:
	rm -rf $(VENV) build dist lineup-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
