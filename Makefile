# Clinic Hub.  Everything runs in .venv, made from the hashed lock; nothing else is needed than Python 3.11+ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long check bench docs lock new-connector release-notes clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Clinic Hub needs Python 3.11 or newer; name one with PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install: $(STAMP)  ## make .venv from the lock

demo: $(STAMP)  ## one day of a clinic, over real sockets, in seconds
	$(BIN)/hub demo --once

test: $(STAMP)  ## the test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-long: $(STAMP)  ## the slow campaigns too: minutes to hours
	CLINIC_HUB_LONG=1 $(BIN)/python -m pytest --timeout 3600

check: $(STAMP)  ## ruff, mypy, import rules, configuration, docs up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hub check config/clinic.yaml
	$(BIN)/hub test
	$(BIN)/python docs/generate.py --check

bench: $(STAMP)  ## the figures this project claims
	$(BIN)/python benchmarks/run.py

docs: $(STAMP)  ## write the generated reference pages
	$(BIN)/python docs/generate.py

lock:  ## resolve the dependencies anew, for all Pythons and systems (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--group dev --no-cache pyproject.toml --output-file requirements.lock

new-connector: $(STAMP)  ## begin a connector of your own: make new-connector NAME=kiosk
	@test -n "$(NAME)" || { echo "say which: make new-connector NAME=kiosk"; exit 2; }
	$(BIN)/hub new connector $(NAME)

release-notes: $(STAMP)  ## what CHANGELOG.md will say of the fragments in changelog.d
	$(BIN)/towncrier build --draft --version next

clean:  ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
