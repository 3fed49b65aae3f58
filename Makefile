# Everything the project can do, by name. Each target makes what it needs, once.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BENCH  := .venv-bench
JARS   := .setup/kafka-jars
# The part of Kubernetes that serves custom resources; the tests play the operators.
API_SERVER := .setup/bin/apiextensions-apiserver
API_SERVER_VERSION := v0.34.2
# How many processes run the unit and integration tests. Each starts servers of its own.
WORKERS ?= 2
# Arguments for pytest or for the benchmark: make test-unit ARGS="-k lease -x"
ARGS ?=
# Pages that are generated from the code; `make docs` writes them, `make check` compares them.
DOCS := ray_pipeline.docs

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two installations into one environment at once would break it.
.NOTPARALLEL:
.PHONY: help setup demo test test-unit test-integration test-cluster test-k8s check format bench docs clean

help: ## List these targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .setup/dev ## Make .venv with everything but Kafka's jars (needs neither Java nor Maven).

demo: .setup/local ## Run everything at once, without keys, network or Docker. Ctrl-C ends it.
	$(BIN)/ray-pipeline demo $(ARGS)

test: test-unit test-integration test-cluster ## Run all tests (needs Java; Maven the first time).

test-unit: .setup/dev ## Run the tests that do no I/O to speak of.
	$(call pytest,tests/unit,-n $(WORKERS))

test-integration: .setup/dev $(JARS) ## Run the tests against real servers.
	$(call pytest,tests/integration,-n $(WORKERS))

test-cluster: .setup/dev $(JARS) ## Run the tests on a real Ray cluster, one after the other.
	$(call pytest,tests/cluster)

test-k8s: .setup/dev $(API_SERVER) ## Run the tests of deploying on a real API server (needs Go and etcd).
	$(call pytest,tests/k8s)

check: .setup/dev ## Check style, types, layers and the generated pages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if $(call exists,$(DOCS)); then $(BIN)/python -m $(DOCS) --check; fi

format: .setup/dev ## Format the code and fix what can be fixed.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .setup/bench $(JARS) ## Measure; see benchmarks/RESULTS.md for what was measured before.
	$(BENCH)/bin/python benchmarks/run.py $(ARGS)

docs: .setup/dev ## Write the pages that are generated from the code.
	$(BIN)/python -m $(DOCS)

clean: ## Remove the virtual environments and what tools left behind. Data and jars stay.
	rm -rf $(VENV) $(BENCH) .setup .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Stamps: a change of pyproject.toml makes them anew. What has `dev` has `local` too.
.setup/dev: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@mkdir -p .setup && touch $@ .setup/local

.setup/local: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[local]'
	@mkdir -p .setup && touch $@

# Quix Streams, which we measure against, needs older releases of what the project uses itself.
.setup/bench: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --editable '.[bench]'
	@mkdir -p .setup && touch $@

$(JARS): ray_pipeline/local/kafka/pom.xml | .setup/local
	$(BIN)/python -m ray_pipeline.local.kafka.jars
	@touch $@

$(API_SERVER):
	GOBIN=$(CURDIR)/.setup/bin go install k8s.io/apiextensions-apiserver@$(API_SERVER_VERSION)

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

# $(call pytest,FOLDER,OPTIONS). Status 5, no tests, is no failure: ARGS may select from one folder.
pytest = $(BIN)/python -m pytest $(1) $(2) $(ARGS) || [ $$? -eq 5 ]
exists = $(BIN)/python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("$(1)") is None)'
