# `make demo` and `make test` are all a newcomer needs; both make .venv first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Where it is set, each of hundreds of processes would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
ARGS ?=
# One more than cores: many tests wait for a process or a clock.
WORKERS ?= 3
.PHONY: help setup demo test test-network test-lm-eval test-postgres lint check audit ui soak clean bench bench-train bench-tiny bench-peer bench-calibrate bench-recovery bench-measure load simulate chaos

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

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

test: $(INSTALLED)  ## the suite offline, all but the slow tests (make soak)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15 $(ARGS)

test-network: $(INSTALLED)  ## what needs the package index: the unpacked package in a clean environment (CI)
	$(BIN)/python -m pytest -m 'network and not slow' --timeout 3000 $(ARGS)

# Beside .venv, which it reads: the extra brings 20 packages that nothing else needs.
HARNESS := .brightrun/lm-eval
test-lm-eval: $(HARNESS)/.installed  ## our log-likelihoods against lm-eval's on the same models (CI)
	$(HARNESS)/bin/python -W ignore -c "import lm_eval.models.huggingface"
	$(HARNESS)/bin/python -m pytest -m slow -k "lm_eval or harness or written_answers" \
	  tests/test_evals_harness.py tests/test_trainer_measuring.py $(ARGS)

$(HARNESS)/.installed: $(INSTALLED)
	@test -x $(HARNESS)/bin/python || $(PYTHON) -m venv $(HARNESS)
	@$(BIN)/python -c "import site; print(site.getsitepackages()[0])" > $$(echo $(HARNESS)/lib/python*/site-packages)/base.pth
	$(HARNESS)/bin/python -m pip install -q -c constraints.txt lm-eval
	@touch $@

test-postgres: $(INSTALLED)  ## the ledger's tests on a real Postgres instead of SQLite
	$(BIN)/python -m pytest --postgres -n $(WORKERS) $$(ls tests/test_brightrun_ledger*.py) tests/test_brightrun_promises.py \
	  tests/test_brightrun_history.py tests/test_brightrun_reaper.py tests/test_brightrun_alerts.py tests/test_brightrun_backup.py $(ARGS)

lint: $(INSTALLED)  ## ruff, format, mypy --strict, Dockerfile, shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint deployments/*.Dockerfile
	$(BIN)/shellcheck deployments/*.sh .ci/run

check: lint audit test  ## lint, audit and test

audit: $(INSTALLED)  ## secrets in tracked files, licences, known holes ("not checked" where PyPI's advisories are away)
	$(BIN)/python -m audit

ui: setup  ## Prefect UI, worker, deployments and report pages on loopback; Ctrl-C stops all
	@$(BIN)/python -m flows.ui

soak: $(INSTALLED)  ## the slow tests: 1 GB files, 20 kills and their table
	@mkdir -p .brightrun && rm -f .brightrun/soak-kills.jsonl
	@$(MAKE) --no-print-directory test-postgres
	$(BIN)/python -m pytest --postgres -m slow tests/test_brightrun_promises.py
	SOAK_TABLE=$(CURDIR)/.brightrun/soak-kills.jsonl $(BIN)/python -m pytest -m slow --timeout 3000 $(ARGS)
	@$(BIN)/python tests/soak_kills.py .brightrun/soak-kills.jsonl

bench: bench-calibrate bench-recovery  ## calibration, recovery, training beside LLaMA-Factory where it installs, into docs/benchmarks.md
	@$(MAKE) --no-print-directory bench-peer || echo "LLaMA-Factory cannot be installed here: the training bench leaves it out"
	@$(MAKE) --no-print-directory bench-train

# Three repeats, two seeds. A quick look: make bench-train BENCH="--base-model tiny --conversations 2 --held-out 1 --seeds 1"
BENCH ?= --longest 1000 --conversations 10 --held-out 5 --seeds 1,2,1
BENCH_EQ12 ?= --longest 1900 --conversations 4 --held-out 1 --seeds 1,2,1
EQ12 := ../shared/data/eq12/EQ-12-conversations-demo.json
RESULTS := .brightrun/bench

bench-train: setup  ## ours, a bare loop, TRL's recipes, LLaMA-Factory, interleaved, three repeats
	@rm -f $(RESULTS)/training.jsonl $(RESULTS)/training-eq12.jsonl
	$(BIN)/python -m benches.training $(BENCH) --out $(RESULTS)/training.jsonl
	@if test -f $(EQ12); then $(BIN)/python -m benches.training $(BENCH_EQ12) --file eq12 --out $(RESULTS)/training-eq12.jsonl; fi
	@$(BIN)/python -m benches.tables $(RESULTS)

bench-tiny: setup  ## the same with the generated model (3 minutes)
	@rm -f $(RESULTS)/training-tiny.jsonl
	$(BIN)/python -m benches.training --base-model tiny --conversations 4 --held-out 2 --out $(RESULTS)/training-tiny.jsonl
	@$(BIN)/python -m benches.tables $(RESULTS)

PEER := $(RESULTS)/peer
bench-peer: $(PEER)/.installed  ## LLaMA-Factory in an environment of its own, for bench-train

$(PEER)/.installed: constraints.txt
	@test -x $(PEER)/bin/python || $(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip install -q $$(grep '^torch==' constraints.txt) llamafactory==0.9.5
	@# Both come without a build for this torch, and neither is needed for text.
	$(PEER)/bin/python -m pip uninstall -q -y torchvision torchaudio
	@touch $@

bench-calibrate: $(INSTALLED)  ## forecast of micro-steps from others, 12 configurations (3 minutes)
	@rm -f $(RESULTS)/calibration.jsonl
	$(BIN)/python -W ignore -m benches.calibration --out $(RESULTS)/calibration.jsonl
	@$(BIN)/python -m benches.tables $(RESULTS)

bench-measure: setup  ## measuring as the pod does it against a script that loads twice, one by one
	@rm -f $(RESULTS)/measuring.jsonl
	$(BIN)/python -W ignore -m benches.measuring --max-new-tokens 64 --out $(RESULTS)/measuring.jsonl
	@$(BIN)/python -m benches.tables $(RESULTS)

bench-recovery: setup  ## checkpoint stall; from a kill to the next step, part by part (three jobs)
	@rm -f $(RESULTS)/recovery.jsonl
	$(BIN)/python -m benches.recovery --interrupt-at 5 --out $(RESULTS)/recovery.jsonl
	@$(BIN)/python -m benches.tables $(RESULTS)

# One part again: make load ARGS="--only jobs --jobs 10"
load: $(INSTALLED)  ## 50 jobs at once, a ledger of 1,000,000 rows, 10 GB of checkpoints (half an hour, 15 GB of disk)
	@status=0; $(BIN)/python tests/load.py $(ARGS) || status=$$?; \
	$(BIN)/python -m benches.tables $(RESULTS); exit $$status

# Policy and checkpoint sweeps into the page: make simulate ARGS="--sweep --page docs/simulation.md"
simulate: $(INSTALLED)  ## 10,000 jobs in each of 5 worlds (minutes); plots in .brightrun/simulation
	@$(BIN)/python -m simulation $(ARGS)

# One schedule again: make chaos N=1 SEED=17 ARGS="--verbose --keep .brightrun/chaos"
N ?= 200
SEED ?= 1
chaos: $(INSTALLED)  ## N jobs at a fake RunPod where everything goes wrong (N=200 SEED=1)
	@$(BIN)/python tests/chaos.py --runs $(N) --seed $(SEED) --workers $(WORKERS) $(ARGS)

clean:  ## remove .venv and all state (ledger, run folders, models, reports)
	rm -rf $(VENV) .brightrun
