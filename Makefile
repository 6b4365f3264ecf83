# The chores of this repository. A fresh machine needs Python 3.11 or newer, make and git; nothing is installed outside .venv.
# `make demo` shows the pair at work, `make test` runs every test. Another interpreter: `make setup PYTHON=/opt/python3.13/bin/python3`.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Exact versions, each checked against its hash. The package itself is built with the setuptools of the lock file, so that
# pip fetches nothing that is not written down.
LOCKED := $(PIP) install --quiet --require-hashes --only-binary :all:
COMPILED := $(CURDIR)/.compiled
WHEEL := $(COMPILED)/.built
OURSELVES := $(PIP) install --quiet --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.PHONY: help setup dev demo test test-compiled wheel lint fmt fuzz soak bench bench-quick profile lock browser-deps clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.run  ## .venv with ngrokd and ngrokc in it
dev: $(VENV)/.dev  ## the same, with what the tests need

$(VENV)/.python:
	@set -e; \
	fits() { "$$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
	  if command -v "$$python" >/dev/null 2>&1 && fits "$$python"; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "make: no Python 3.11 or newer was found; install one, or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "make: $$found has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; fi; \
	echo "making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV); \
	touch $@

$(VENV)/.run: requirements.lock requirements-build.lock pyproject.toml | $(VENV)/.python
	$(LOCKED) -r requirements.lock -r requirements-build.lock
	$(OURSELVES)
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements-build.lock pyproject.toml | $(VENV)/.python
	$(LOCKED) -r requirements-dev.lock -r requirements-build.lock
	$(OURSELVES)
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run  ## ngrokd, an agent and a small private service; prints a public URL, stays until Ctrl-C
	@$(BIN)/python -m assets.demo

test: $(VENV)/.dev  ## every test; TESTS=tests/protocol for some of them
	$(BIN)/python -m pytest -q $(TESTS)

lint: $(VENV)/.dev  ## ruff, mypy strict, and the rules of the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

fmt: $(VENV)/.dev  ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

FUZZ_SECONDS := 60
fuzz: $(VENV)/.dev  ## heads, bodies, answers, the whole edge, mux and frames; FUZZ_SECONDS=600 for each, longer
	for part in heads bodies responses edge frames mux; do $(BIN)/python -m tests.fuzz.$$part --seconds $(FUZZ_SECONDS) || exit 1; done
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -q tests/protocol/test_frames.py tests/protocol/test_messages.py

soak: $(VENV)/.dev  ## 100 000 requests of all kinds by http, 25 000 by https, then 8 000 hostile connections of each kind; some minutes
	$(BIN)/python -m tests.soak

wheel: $(WHEEL)  ## dist/ngrokd-*.whl with what every byte passes compiled by mypyc: wants a C compiler, takes a minute or two

SOURCES := setup.py pyproject.toml $(shell find protocol ngrokd ngrokc assets -type f -not -path '*/__pycache__/*')
$(WHEEL): $(SOURCES) requirements-dev.lock | $(VENV)/.dev
	@rm -rf build dist $(COMPILED)
	@command -v "$${CC:-cc}" >/dev/null && $(BIN)/python -c 'import os, sysconfig as s; raise SystemExit(not os.path.exists(s.get_path("include") + "/Python.h"))' \
	  || { echo "make: it takes a C compiler and Python's headers; on Debian and Ubuntu: apt install gcc python3-dev" >&2; exit 1; }
	NGROK_COMPILE=1 $(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . >dist.log 2>&1 || { cat dist.log >&2; exit 1; }
	$(PIP) install --quiet --no-deps --target $(COMPILED) dist/*.whl
	@rm -rf build dist.log
	@touch $@

test-compiled: $(WHEEL)  ## the real programs as `make wheel` built them: all that is tested from outside; TESTS=tests/compat for some
	PYTHONPATH=$(COMPILED) $(BIN)/pytest -q -p no:cacheprovider $(or $(TESTS),tests/e2e tests/transparency tests/compat)

bench: $(VENV)/.dev  ## the figures of the README: wants nginx, wrk and iperf3, a C compiler if there is one; under 12 minutes
	@$(MAKE) --no-print-directory wheel || echo "make: so nothing compiled is measured" >&2
	$(BIN)/python -m tests.bench

bench-quick: $(VENV)/.dev  ## the same, once and short: under a minute
	$(BIN)/python -m tests.bench --quick

profile: $(VENV)/.dev  ## where ngrokd and ngrokc spend their time under keep-alive load
	$(BIN)/python -m tests.bench.profile

lock: $(VENV)/.dev  ## write the three lock files anew from pyproject.toml
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q --upgrade -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q --upgrade -o requirements-dev.lock
	echo 'setuptools>=77' | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q --upgrade -o requirements-build.lock

browser-deps:  ## Debian and Ubuntu: chromium and its driver, for the browser tests
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver

clean:  ## forget the environment and every cache
	rm -rf $(VENV) $(COMPILED) .demo bench-out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
