# make demo: the main job once, on real images.  make test: the suite but for what takes long by its nature (series of kills,
# 10,000 events, pages in a browser, trainings in several processes); make test-all: that, too, and more examples of each property.
# make install: .venv for development.
# make soak: a run that everything around it breaks, for 30 minutes; make soak MINUTES=4320 for 72 hours, BUNDLE=part.occ for
# another bundle, DATA=folder for real pictures and videos.
# make docs: the pages of docs/ as a site in .cache/site.
# make test-jetpack6: the device half of the suite but MQTT, dashboard and doctor, on Python 3.10 with old numpy and OpenCV, without torch.
PYTHON ?= python3
# The version that is tested; pyproject.toml allows a range. TORCH="torch>=2.9" takes the newest.
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
PROJECT := pyproject.toml
JETPACK6 := .venv-jetpack6
DEVICE_TESTS := $(addprefix tests/edge_occ/,bundle common inspection sources output runtime cli) tests/engines tests/trainer/cli
ARRAY_TESTS := $(addprefix tests/edge_occ/,bundle inspection) tests/engines
ON_DEVICE := -m "not train and not long" -p no:cacheprovider
# Files share out among the processors, those that take longest first (tests/conftest.py), each with one thread: the
# networks of the tests are too small to split.
# One process more than processors, as many tests wait for other programs; with two more it took no less time.
PARALLEL := -n $(shell expr $$(nproc 2>/dev/null || echo 2) + 1) --maxprocesses 8 --dist loadfile --no-loadscope-reorder
MARKS ?= not long
# Profile of hypothesis: 40 examples of each property, or 100.
EXAMPLES ?= short
# The newest numpy and OpenCV that a Jetson with JetPack 6 may have; the oldest are in tests/jetpack6.txt.
JETPACK6_NEWEST := numpy==1.26.4 opencv-python==4.10.0.84

# Hundreds of processes of the tests import the same modules.  Where the environment says so, as in many containers, each of
# them would compile all anew.
unexport PYTHONDONTWRITEBYTECODE

MINUTES ?= 30
BUNDLE ?= .cache/soak/discs.occ
DATA ?= $(wildcard ../shared/data)

.PHONY: demo test test-all test-jetpack6 install lint types-of-product types-of-tests imports docs soak format clean

demo: $(VENV)/.demo
	$(BIN)/edge-occ demo

test: $(VENV)/.dev lint
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PARALLEL) -m "$(MARKS)" --hypothesis-profile $(EXAMPLES)

test-all:
	$(MAKE) --no-print-directory test MARKS="long or not long" EXAMPLES=thorough

# What computes with arrays or reads them; of that, nothing is left out but what is marked as needing the training packages
# (a forgotten mark is a failure) or as long.
test-jetpack6: export OMP_NUM_THREADS = 1
test-jetpack6: export EDGE_OCC_TEST_BUNDLE = $(CURDIR)/$(JETPACK6)/discs.occ
test-jetpack6: $(JETPACK6)/.ready $(JETPACK6)/discs.occ
	$(JETPACK6)/bin/pytest $(PARALLEL) $(DEVICE_TESTS) $(ON_DEVICE)
	PYTHONPATH=$(CURDIR)/$(JETPACK6)/newest $(JETPACK6)/bin/pytest $(PARALLEL) $(ARRAY_TESTS) $(ON_DEVICE)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory -j2 types-of-tests types-of-product imports

types-of-product: $(VENV)/.dev
	$(BIN)/mypy

types-of-tests: $(VENV)/.dev
	$(BIN)/mypy --config-file tests/mypy.ini --cache-dir .mypy_cache/tests

imports: $(VENV)/.dev
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/python tools/settings_page.py
	$(BIN)/python tools/mqtt_reference.py
	$(BIN)/python tools/module_table.py
	$(BIN)/mkdocs build --quiet --strict

soak: $(VENV)/.dev $(BUNDLE)
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(BIN)/python benchmarks/soak.py --bundle $(BUNDLE) --minutes $(MINUTES) \
		$(if $(DATA),--data $(DATA)) --json .cache/soak/soak.json

.cache/soak/discs.occ: $(VENV)/.dev tests/discs.py
	mkdir -p $(@D)
	$(BIN)/python tests/discs.py $@

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.dev

clean:
	rm -rf $(VENV) $(JETPACK6) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("edge-occ needs Python 3.10 or newer; make PYTHON=python3.x") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python $(PROJECT)
	$(PIP) install "$(TORCH)" -e ".[demo]"
	touch $@

$(VENV)/.dev: $(BIN)/python $(PROJECT)
	$(PIP) install "$(TORCH)" -e ".[dev]"
	touch $@

$(JETPACK6)/.ready: tests/jetpack6.txt tools/find-python $(PROJECT) Makefile
	python=$$(tools/find-python 3.10) && "$$python" -m venv --clear $(JETPACK6)
	$(JETPACK6)/bin/pip --disable-pip-version-check install --no-compile -r tests/jetpack6.txt -e .
	$(JETPACK6)/bin/pip --disable-pip-version-check install --no-compile --no-deps --target $(JETPACK6)/newest $(JETPACK6_NEWEST)
	! $(JETPACK6)/bin/python -c "import torch" 2>/dev/null
	touch $@

# Made by the trainer, where torch is; as old as the code that it comes from.
$(JETPACK6)/discs.occ: $(VENV)/.dev $(JETPACK6)/.ready tests/discs.py \
		$(wildcard trainer/*.py trainer/*/*.py edge_occ/*.py edge_occ/*/*.py edge_occ/*/*/*.py engines/*.py engines/*/*.py)
	$(BIN)/python tests/discs.py $@
