# make demo: the main job once, on real images.  make test: the whole suite.  make install: .venv for development.
PYTHON ?= python3
# The version that is tested; pyproject.toml allows a range. TORCH="torch>=2.6" takes the newest.
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
PROJECT := pyproject.toml

.PHONY: demo test install lint format clean

demo: $(VENV)/.demo
	$(BIN)/edge-occ demo

test: $(VENV)/.dev lint
	$(BIN)/pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.dev

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("edge-occ needs Python 3.10 or newer; make PYTHON=python3.x") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python $(PROJECT)
	$(PIP) install "$(TORCH)" -e ".[demo]"
	touch $@

$(VENV)/.dev: $(BIN)/python $(PROJECT)
	$(PIP) install "$(TORCH)" -e ".[dev]"
	touch $@
