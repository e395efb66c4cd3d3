# `make demo` runs the main job on the embedded phantoms; `make test` runs every check.
# Both set up a virtual environment in .venv with pinned packages first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?= configs/phantom.yaml

.PHONY: demo test setup lint types workflow browser format clean

demo: $(VENV)/run-time
	@start=$$(date +%s); set -e; \
	$(BIN)/python scripts/prepare_cohort.py --config $(CONFIG); \
	$(BIN)/python scripts/train_generator.py --config $(CONFIG); \
	$(BIN)/python scripts/synthesize.py --config $(CONFIG); \
	$(BIN)/python scripts/train_detector.py --config $(CONFIG); \
	$(BIN)/python scripts/compare_regimes.py --config $(CONFIG); \
	echo "The whole study took $$(( ($$(date +%s) - start) / 60 )) minutes."

test: lint types workflow browser
	$(BIN)/python -m pytest

setup: $(VENV)/checks

lint: $(VENV)/checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/checks
	$(BIN)/mypy

# Snakemake asks for other versions of shared packages, so it lives in an environment of its own.
workflow: $(VENV)-workflow/ready
	$(VENV)-workflow/bin/snakemake --dry-run --quiet all --configfile $(CONFIG)

# The reading page is tested in a real browser; without one the test fails and says so.
browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	echo "No browser for the page tests: installing Debian's chromium."; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null \
	|| echo "It could not be installed. Install chromium yourself."

format: $(VENV)/checks
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-workflow

$(VENV)/run-time: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 13) else "LesionForge needs Python 3.11 or 3.12, this is %d.%d: make PYTHON=python3.11" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(VENV)/checks: $(VENV)/run-time requirements-dev.lock requirements-peers.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-peers.lock
	touch $@

$(VENV)-workflow/ready: requirements-workflow.lock
	test -x $(VENV)-workflow/bin/python || $(PYTHON) -m venv $(VENV)-workflow
	$(VENV)-workflow/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-workflow.lock
	touch $@
