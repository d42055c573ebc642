# `make demo` and `make test` are all that a fresh machine needs. PYTHON and VENV may be overridden:
#     make test PYTHON=python3.12 VENV=/somewhere/else
PYTHON ?= python3
VENV ?= .venv
DEMO ?= star-al-demo
JOBS ?= 2
PYTEST_ARGS ?=

PIP = $(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-input -c constraints.txt
# A reference in the tests. It asks for torchvision, which it does not use and which breaks beside a torch that
# comes from elsewhere; so it is installed with what it does use, and no more.
LAPLACE = laplace-torch asdfghjkl backpack-for-pytorch curvlinops-for-pytorch einconv einops lightning-utilities \
    linear_operator opt_einsum torchmetrics unfoldNd
PINS = pyproject.toml constraints.txt
# A worker takes one file of tests after the other, in the order of tests/conftest.py: the longest first.
PYTEST = $(VENV)/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
FAST = tests/unit tests/loop tests/contract tests/db tests/report

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast coverage lint docs settings clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.demo ## a whole campaign with a simulated annotator, in ./star-al-demo
	$(VENV)/bin/star-al demo --folder $(DEMO)

test: $(VENV)/.develop $(VENV)/.chromium $(VENV)/.pgbouncer ## all tests, JOBS at once; PYTEST_ARGS="-k name" chooses some
	$(PYTEST) $(PYTEST_ARGS)

test-fast: $(VENV)/.develop ## the tests that need no server, browser, database server or language model
	$(PYTEST) -m "not browser and not postgres and not slow" $(PYTEST_ARGS) $(FAST)

coverage: ## all tests, and which lines of star_al and db they run
	@$(MAKE) --no-print-directory test PYTEST_ARGS="--cov --cov-report=term $(PYTEST_ARGS)"

lint: $(VENV)/.develop ## style, types and import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy star_al db tests scripts
	$(VENV)/bin/lint-imports

docs: $(VENV)/.develop ## the documentation, into build/site
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

settings: $(VENV)/.develop ## docs/settings.md and configs/classification.yaml, from the descriptions of the settings
	$(VENV)/bin/python scripts/write_settings.py

clean: ## remove the environment and the caches; campaigns stay
	rm -rf $(VENV) build dist .coverage .grimp_cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# Stamp files: the newest thing in an environment, made when its installs are complete.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "star_al needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch goes first and alone, so that a CPU build on disk or a chosen index decides which one it is.
$(VENV)/.torch: $(VENV)/.python $(PINS)
	@echo "Installing into $(VENV); this takes a few minutes the first time."
	$(PIP) torch
	@touch $@

$(VENV)/.demo: $(VENV)/.torch
	$(PIP) -e '.[demo,postgres]'
	@touch $@

$(VENV)/.develop: $(VENV)/.torch
	$(PIP) -e '.[demo,postgres,test,dev,docs]'
	$(PIP) --no-deps $(LAPLACE)
	@touch $@

$(VENV)/.chromium: $(VENV)/.develop scripts/install_chromium.sh
	@scripts/install_chromium.sh $(VENV)/bin/python
	@touch $@

$(VENV)/.pgbouncer: $(VENV)/.develop scripts/install_pgbouncer.sh
	@scripts/install_pgbouncer.sh
	@touch $@
