# `make` alone lists the commands. Those that run code first build .venv if it is missing or out of date.
PROFILE = laptop
RUN =
FRESH =
PYTHON = $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)

SUPPORTED = import sys; sys.exit(sys.version_info < (3, 11))
VENV = .venv/bin/python -m
STUDY = $(VENV) fpa.study
READY = .venv/.ready
INSTALL = $(VENV) pip install -q --disable-pip-version-check --no-compile

# Every notebook is a process of its own: without bytecode each would compile the packages in .venv anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: figures smoke test lint format bench lab lock clean clean-store help

figures: $(READY) ## draw every figure and table (PROFILE=smoke|laptop|paper, RUN=one run, FRESH=1: train anew)
	$(STUDY) run --profile $(PROFILE) $(if $(RUN),--run $(RUN)) $(if $(FRESH),--fresh)

smoke: $(READY) ## the same in miniature, in a few minutes
	$(STUDY) run --profile smoke $(if $(RUN),--run $(RUN)) $(if $(FRESH),--fresh)

test: $(READY) ## run all tests, the notebooks included
	OPENBLAS_NUM_THREADS=1 $(VENV) pytest tests --nbval-lax notebooks --numprocesses auto --dist loadscope

lint: $(READY) ## check style, types, and that notebooks are stripped
	$(VENV) ruff check
	$(VENV) ruff format --check
	$(VENV) pyright
	$(VENV) fpa.study.strip --check notebooks/*.ipynb

format: $(READY) ## rewrite code and notebooks as lint wants them
	$(VENV) ruff check --fix
	$(VENV) ruff format
	$(VENV) fpa.study.strip notebooks/*.ipynb

bench: $(READY) ## measure the batched map against the C solvers
	$(STUDY) bench --profile $(PROFILE)

lab: $(READY) ## open the notebooks in JupyterLab
	$(VENV) jupyterlab notebooks

lock: ## resolve requirements.lock from pyproject.toml (delete it first to upgrade everything)
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install -q uv
	build/lock/bin/python -m uv pip compile -q pyproject.toml -o requirements.lock

clean: ## remove the smoke figures, caches and build products
	rm -rf figures/smoke build dist .pytest_cache .ruff_cache
	find . \( -path ./.venv -o -path ./.store -o -path ./.git \) -prune -o \
		\( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

clean-store: ## remove the stored results of long computations
	rm -rf .store

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# Without the stamp .venv is missing or half-installed and is built from nothing; with it, it is brought up to date.
$(READY): requirements.lock pyproject.toml
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' 2>/dev/null || { echo "fpa needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing the packages of requirements.lock into .venv, which takes a minute or two."
	test -f $@ || $(PYTHON) -m venv --clear .venv
	rm -f $@
	$(INSTALL) pip==26.3 # twice as fast as the one that comes with Python 3.11
	$(INSTALL) -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@
