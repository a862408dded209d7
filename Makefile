# make run         the demonstration: a photograph through a bank of filters, in every way there is; faces by a network
# make test        all that must hold: style, types, tests, examples, documentation (4 to 8 minutes on 2 cores, by CPU)
# make check-slow  the long tests too, with PyTorch as an outside judge
# make help        the rest
#
# The first call makes the virtual environment .venv; later ones use it. PYTHON=... chooses another interpreter.

VENV ?= .venv
BIN := $(VENV)/bin
# The first interpreter from 3.11 on that can make virtual environments.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest
# Builds nothing online: what is new in another major version of mkdocs is no matter of ours.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

# Tests start some hundred processes, which would compile what they import each time: bytecode is kept beside the
# sources, whatever the shell says (`make clean` takes it away).
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test lint types check coverage docs serve-docs format check-slow check-models check-outside check-oldest bench bench-nets bench-int8 bench-images bench-doors bench-scale wheel clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

# -- what people call ---------------------------------------------------------------------------------------------

run: $(VENV)/.run  ## the demonstration: prints its tables, writes its pictures to out/
	$(BIN)/convmat demo

test: lint  ## everything that must hold
	$(MAKE) --no-print-directory -j 2 types docs
	$(MAKE) --no-print-directory check

check-slow: $(VENV)/.outside  ## every test, the long ones too, against PyTorch as well
	$(PYTEST) -n $(WORKERS) --dist worksteal --slow

check-models: $(VENV)/.test  ## trained networks on real inputs, which are fetched once
	$(PYTEST) -n $(WORKERS) --models tests/network/test_real.py tests/network/test_agreement.py

check-outside: $(VENV)/.outside  ## the comparisons with PyTorch alone
	$(PYTEST) -n $(WORKERS) -m outside tests

check-oldest:  ## the quick tests with the oldest packages that pyproject.toml allows
	$(MAKE) --no-print-directory check VENV=.venv-oldest CONSTRAINED=-ctests/oldest.txt

bench: $(VENV)/.bench  ## side by side with other libraries; needs a quiet machine
	$(BIN)/python -m benchmarks

bench-nets: $(VENV)/.bench  ## the same with whole networks
	$(BIN)/python -m benchmarks nets

bench-train: $(VENV)/.bench  ## training steps beside PyTorch
	$(BIN)/python -m benchmarks.training

bench-int8: $(VENV)/.bench  ## layers and networks of 8-bit integers and bfloat16, beside others
	$(BIN)/python -m benchmarks int8

bench-images: $(VENV)/.bench  ## filters over an image, beside OpenCV, SciPy and PyTorch
	$(BIN)/python -m benchmarks images

bench-doors: $(VENV)/.bench  ## convmat.scipy beside SciPy and OpenCV; accelerated models beside PyTorch
	$(BIN)/python -m benchmarks doors
	$(BIN)/python -m benchmarks.accelerated

bench-scale: $(VENV)/.bench  ## chunks, workers and files beside the result in memory
	$(BIN)/python -m benchmarks.scale --image 8192

# -- the parts of `make test` -------------------------------------------------------------------------------------

lint: $(VENV)/.test  ## style alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test  ## types alone
	$(BIN)/mypy --num-workers $(WORKERS)

check: $(VENV)/.test  ## the quick tests, and every example in docstrings, README and docs
	$(PYTEST) -n $(WORKERS) --dist worksteal --maxfail 50

coverage: $(VENV)/.test  ## lines of the package that no quick test runs
	$(PYTEST) -n $(WORKERS) --dist worksteal --cov=convmat --cov-report=term-missing:skip-covered

docs: $(VENV)/.test  ## the documentation, to site/
	$(MKDOCS) build --strict --quiet

# -- for those who work on it -------------------------------------------------------------------------------------

serve-docs: $(VENV)/.test  ## the documentation at localhost:8000, rebuilt as it is edited
	$(MKDOCS) serve

format: $(VENV)/.test  ## rewrite to the house style what a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/.test  ## the wheel, to dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:  ## all that these commands made
	rm -rf $(VENV) .venv-oldest .kernels out site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -exec rm -rf {} +

# -- the virtual environment: each stamp says that the extras it names are installed as pyproject.toml wants them ------

EXTRAS.run := cli,draw,onnx
EXTRAS.test := test,docs
EXTRAS.outside := test,outside
EXTRAS.bench := bench

# Twice quiet: not even warnings, which are about pip's own settings; errors still show.
# Bytecode is written when a module is first imported: writing all of it takes half of the time, and most is never read.
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python from 3.11 on with venv was found: install one, or say PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --upgrade pip  # one that came with an older Python chooses versions in twice the time

$(VENV)/.%: pyproject.toml | $(BIN)/python
	@echo "Installing convmat[$(EXTRAS.$*)] into $(VENV), once ..."
	@$(INSTALL) $(CONSTRAINED) -e '.[$(EXTRAS.$*)]'
	@touch $@
