# Two commands that work on a fresh machine with Python and pip:  make demo,  make test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Without --no-compile a minute goes into byte code of modules that nothing here imports.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: demo samples test check types style format bench shipped clean

# The public CLIP of the reference evidence is fetched once; everything works without it.
CLIP := clip-vit-b-16
demo: $(VENV)/.runtime
	@$(BIN)/lineup models show $(CLIP) > /dev/null 2>&1 \
	    || { $(PIP) --editable '.[pull]' && $(BIN)/lineup models pull $(CLIP); } \
	    || echo "$(CLIP) could not be fetched: the demo goes by fingerprints alone."
	$(MAKE) samples

samples: $(VENV)/.runtime
	$(BIN)/lineup demo --output lineup-demo --overwrite

# mypy keeps one core busy; the rest runs on the other meanwhile.
test: $(VENV)/.development
	$(MAKE) --jobs=2 --output-sync types style samples
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: types style

types: $(VENV)/.development
	$(BIN)/mypy

style: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(VENV)/.development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The CPU benchmarks that fit into half an hour, and the report. BUNDLES names a folder with exported
# models of random weights (benchmarks/README.md); without it they are exported into build/ first.
MODELS = $(if $(BUNDLES),--bundles $(BUNDLES)) --record
bench: $(VENV)/.development
	$(BIN)/python benchmarks/cli_start.py --runs 5 --record
	$(BIN)/python benchmarks/fingerprint.py --sizes 256 --rounds 3 --record
	$(BIN)/python benchmarks/growth.py --rounds 1 --record
	$(BIN)/python benchmarks/memory_flat.py --record
	$(BIN)/python benchmarks/denoiser.py --rounds 1 --repeat 2 $(MODELS)
	$(BIN)/python benchmarks/memory_limits.py --peers lineup --repeat 1 $(MODELS)
	$(BIN)/python benchmarks/synthesis.py --rounds 1 --repeat 1 $(MODELS)
	$(BIN)/python benchmarks/attribution.py --points 1x1 2x1 1x2 $(MODELS)
	$(BIN)/python benchmarks/report.py

# Makes everything under engine/lineup/data anew; SHARED holds photos/, photos_native/ and generated/.
shipped: $(VENV)/.development
	PATH="$(abspath $(BIN)):$$PATH" bash models/ship.sh $(SHARED)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml
	$(PIP) --editable .
	touch $@

$(VENV)/.development: $(VENV)/.runtime constraints.txt
	$(PIP) --constraint constraints.txt --editable '.[bench,dev,export,train]'
	touch $@

clean:
	rm -rf $(VENV) build dist lineup-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
