# `make demo` and `make test` are all a newcomer needs; both make .venv first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1
.DEFAULT_GOAL := help
ARGS ?=
.PHONY: help setup demo test lint check ui soak clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed (PYTHON=... to name it)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[trainer,dev]'
	@touch $@

setup: $(INSTALLED)  ## make .venv, Prefect's database and the demo's base model
	@$(BIN)/python -m flows.server --migrate
	@$(BIN)/python -m trainer prepare demo >/dev/null || echo "SmolLM2 cannot be had here: the demo uses the generated model 'tiny'"

demo: setup  ## a whole job in about ten minutes: train, kill, resume, measure, report, package
	@model=$$($(BIN)/python -m trainer prepare demo >/dev/null 2>&1 && echo demo || echo tiny); \
	$(BIN)/brightrun train examples/training-file.json --preset demo --base-model $$model \
	  --interrupt-at 13 --name Demo --client "Example client" --notes "make demo" --yes

test: $(INSTALLED)  ## the whole suite, offline
	$(BIN)/python -m pytest $(ARGS)

lint: $(INSTALLED)  ## ruff, format, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test  ## lint and test

ui: setup  ## Prefect UI, worker, deployments and report pages on loopback; Ctrl-C stops all
	@$(BIN)/python -m flows.ui

soak: $(INSTALLED)  ## the slow tests: 1 GB files, 20 kills and their table
	@mkdir -p .brightrun && rm -f .brightrun/soak-kills.jsonl
	SOAK_TABLE=$(CURDIR)/.brightrun/soak-kills.jsonl $(BIN)/python -m pytest -m slow --timeout 3000 $(ARGS)
	@$(BIN)/python tests/soak_kills.py .brightrun/soak-kills.jsonl

clean:  ## remove .venv and all state (ledger, run folders, models, reports)
	rm -rf $(VENV) .brightrun
