# The words of daily work. `make help` lists them.
#
# .venv holds the installed package in one of two builds: compiled (a wheel with mypyc modules, rebuilt when a source is
# newer) or, with UPSTASH_GLOBAL_PURE=1, pure (the working tree itself). The stamps in .venv say which one is current.
# No compiled file ever lies beside a source, so tests started here always run the sources.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
BUILD := $(if $(filter 1,$(UPSTASH_GLOBAL_PURE)),pure,compiled)
SOURCES := $(shell find upstash_global -type f -not -path '*/__pycache__/*' 2>/dev/null)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PARALLEL := -n auto --maxprocesses=4 --dist=loadfile
COMPILED := engine protocol replication disk links server edge cluster redis_suite redis_py_suite
FUZZED := differential or fuzz or mutated or damaged or split
SEEDS ?= 1000
MINUTES ?= 5
ARGS ?=

.PHONY: help up venv dev check test test-compiled test-long bench simulate fuzz proto docs clean

help: ## List what make can do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

up: venv ## Start the whole cluster on this machine [ARGS="--no-wan ..."]
	@exec $(BIN)/upstash-global up $(ARGS)

venv: .venv/.$(BUILD) ## Create .venv with upstash-global, compiled unless UPSTASH_GLOBAL_PURE=1

check: dev ## Format, lint, types, floors and fast tests: about a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not long and not cluster and not compose and not oracle" tests/repo tests/engine tests/protocol tests/replication tests/node

test: dev ## Every claim once, and over the compiled build too what that build can change
	$(BIN)/pytest $(PARALLEL) -m "not long" $(ARGS)
	@$(MAKE) --no-print-directory test-compiled

test-compiled: .venv/.compiled dev ## The tests over the build that users run, real clusters included
	@if grep -qs 'no C compiler' build/uncompiled.txt; then echo "There is no C compiler: nothing compiled to test"; exit 0; fi; \
	rm -rf build/compiled-tests && mkdir -p build/compiled-tests && cp -R tests deploy pyproject.toml build/compiled-tests/ && \
	cd build/compiled-tests && ../../$(BIN)/python -P -m pytest $(PARALLEL) --build=compiled -m "not long" $(addprefix tests/,$(COMPILED))

test-long: dev ## The volume: more seeds, more fuzz, every client
	$(BIN)/pytest $(PARALLEL) --long $(ARGS)

bench: .venv/.compiled dev ## Measure against redis-server and write bench/RESULTS.md
	$(BIN)/python -m bench $(ARGS)

simulate: dev ## Simulated clusters [SEEDS=1000]
	$(BIN)/pytest $(PARALLEL) --seeds=$(SEEDS) tests/simulation

fuzz: dev ## Random commands and bytes against everything that parses [MINUTES=5]
	@end=$$((SECONDS + 60 * $(MINUTES))); seed=$${SEED:-$$RANDOM}; while [ $$SECONDS -lt $$end ]; do \
	  echo "seed $$seed"; $(BIN)/pytest $(PARALLEL) --seed=$$seed --hypothesis-seed=$$seed -k "$(FUZZED)" tests; seed=$$((seed + 1)); done

proto: dev ## Generate upstash_global/server/pb from protos/
	$(BIN)/python -m grpc_tools.protoc -Iupstash_global/server/pb=protos --python_out=. --pyi_out=. --grpc_python_out=. upstash_global/server/pb/replication.proto

docs: dev ## Generate docs/commands.md and docs/openapi.json from the command table
	$(BIN)/python -m docs.make_commands
	$(BIN)/python -m docs.make_openapi

clean: ## Remove what was built; .venv stays
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .venv/.compiled
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# -- the stamps

dev: .venv/.dev .venv/.installed

.venv/bin/python:
	@python=; for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then echo "Python 3.11 or newer is needed" >&2; exit 1; fi; \
	echo "Creating .venv with $$($$python --version)"; $$python -m venv .venv

# Whichever build there is will do; none yet: the one that was asked for.
.venv/.installed: | .venv/bin/python
	@if [ ! -e .venv/.pure ] && [ ! -e .venv/.compiled ]; then $(MAKE) --no-print-directory venv; fi
	@touch $@

.venv/.pure: pyproject.toml | .venv/bin/python
	@echo "Installing upstash-global, uncompiled"
	@$(PIP) 'setuptools>=77' wheel
	@$(PIP) --no-build-isolation --editable .
	@rm -f .venv/.compiled; touch .venv/.pure

.venv/.compiled: setup.py pyproject.toml $(SOURCES) | .venv/bin/python
	@echo "Installing upstash-global, compiled"
	@$(PIP) 'setuptools>=77' wheel 'mypy>=1.13' grpc-stubs types-PyYAML types-protobuf
	@rm -rf build/lib* build/bdist* *.egg-info
	@$(PIP) --no-build-isolation .
	@if [ -e build/uncompiled.txt ]; then echo "It stays uncompiled, and slower: $$(cat build/uncompiled.txt)"; fi
	@rm -f .venv/.pure; touch .venv/.compiled

.venv/.dev: pyproject.toml | .venv/bin/python
	@echo "Installing the tools for development"
	@$(PIP) $$($(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['dev'])")
	@touch $@
