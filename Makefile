# One word per job. `make test` is all that CI runs; `make demo` shows the main job. Both install what they need (as root, Debian 12).
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON := $(BIN)/python
SETUP  := build/setup.stamp
PROTOS := $(wildcard proto/seawall/api/v1/*.proto)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(SETUP) ## install what is missing: Debian packages, the virtual environment, Seawall itself (editable)

$(VENV)/requirements.stamp: requirements/dev.txt deploy/install/system.sh deploy/install/packages.sh
	deploy/install/system.sh
	test -x $(PYTHON) || /usr/bin/python3 -m venv --system-site-packages $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

$(SETUP): $(VENV)/requirements.stamp pyproject.toml proto/generate.py $(PROTOS)
	mkdir -p build
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

proto: $(VENV)/requirements.stamp ## generate the stubs beside the .proto files
	$(PYTHON) proto/generate.py

proto-baseline: $(SETUP) ## remember the wire as it is now: what later changes must stay compatible with (at a release)
	$(BIN)/buf build proto --exclude-source-info -o proto/baseline.binpb

lint: $(SETUP) ## ruff and buf, which also compares the wire with proto/baseline.binpb
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/baseline.binpb

types: $(SETUP) ## mypy, strict, sources and tests
	$(BIN)/mypy

contracts: $(SETUP) ## who may import whom
	$(BIN)/lint-imports

SIDE_BY_SIDE := $(MAKE) --no-print-directory --jobs 2 --output-sync=target

check: $(SETUP) ## all three
	@+$(SIDE_BY_SIDE) types lint contracts

# What waits for real time, then what the laboratory does, and beside that what may take as long as it likes: the laboratory's guests run in
# software and want the machine for themselves, but wait half of the time.
test: check ## check, then every test but the slow ones (real libvirt, QEMU, S3 and PostgreSQL included; root)
	@$(MAKE) --no-print-directory test-services
	@echo "The laboratory's tests, about eight minutes, and tests in memory beside them: what each says is shown when it ends."
	@+$(SIDE_BY_SIDE) test-laboratory test-memory

# Two processes, as many as processors: with three, tests that wait for real time failed now and then. A file stays with one process,
# for its fixtures.
test-services: $(SETUP) ## of `make test`: real servers and processes
	$(BIN)/pytest tests/integration tests/contract -m "not slow and not system" --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-laboratory: $(SETUP) ## of `make test`: hypervisor hosts in namespaces (root)
	$(BIN)/pytest -m "system and not slow"

test-memory: $(SETUP) ## of `make test`: all the others
	nice -n 19 $(BIN)/pytest --ignore tests/integration --ignore tests/contract -m "not slow and not system"

test-slow: $(SETUP) ## what is too long for `make test`, and property tests with new examples
	SEAWALL_EXPLORE=1 $(BIN)/pytest -m "slow or hypothesis"

bench: $(SETUP) ## the same disk images through Seawall, restic and borg (root; under 30 minutes; ROUNDS=, CASES=, ONLY=rgw|folder)
	ROUNDS="$(ROUNDS)" CASES="$(CASES)" ONLY="$(ONLY)" $(PYTHON) -m tests.benchmarks.images

bench-profile: $(SETUP) ## where the worker's time goes in a full backup, into tests/benchmarks/PROFILE.md
	$(PYTHON) -m tests.benchmarks.images profile

bench-guest: $(SETUP) ## what a backup costs the guest, into build/bench/guest.json (root; ROUNDS=3)
	ROUNDS="$(ROUNDS)" $(PYTHON) -m tests.benchmarks.guest

bench-controller: $(SETUP) ## what a large fleet costs the controller, into build/bench/controller.json (root; ENGINES=sqlite,postgresql, AGENTS=1000)
	ENGINES="$(ENGINES)" AGENTS="$(AGENTS)" $(PYTHON) -m tests.benchmarks.controller

bench-pipeline: $(SETUP) ## the data pipeline alone, in memory
	$(PYTHON) tests/benchmarks/pipeline.py

bench-repository: $(SETUP) ## the repository's numbers beside zstd and restic (root; ONLY=encode,unchanged,restore,random_reads,collect,index)
	ONLY="$(ONLY)" INDEX_ENTRIES="$(INDEX_ENTRIES)" $(PYTHON) -m tests.benchmarks.repository

faults: $(SETUP) ## random faults on the real code, then planted mutants, into build/faults.json (ROUNDS=300 SEED=1; SEED=1/48 replays one)
	$(PYTHON) -m tests.faults --rounds $(or $(ROUNDS),300) --seed $(or $(SEED),1)

simulate: $(SETUP) ## a simulated fleet under random faults, then planted mutants, into build/simulation.json (SEEDS=20 SEED=1; SEEDS=1 SEED=48 replays one; BIG=1: 1,000 agents, 20,000 VMs, 24 hours, into build/simulation-big.json; HOURS=)
	$(PYTHON) -m tests.simulation $(if $(BIG),--large --no-mutants --result build/simulation-big.json) --seeds $(or $(SEEDS),$(if $(BIG),1,20)) --seed $(or $(SEED),1) $(if $(HOURS),--hours $(HOURS))

soak: $(SETUP) ## random operations on real guests under random faults, into build/soak.json (root; ROUNDS=20 SEED=1; SEED=1/12 replays one; MINUTES=; PLANTED=NAME: with a planted bug)
	$(PYTHON) -m tests.soak --rounds $(or $(ROUNDS),20) --seed $(or $(SEED),1) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(PLANTED),--planted $(PLANTED))

concurrency: $(SETUP) ## 16 writers into one repository while it is collected and checked, into build/concurrency.json
	$(BIN)/pytest -q -m slow tests/concurrency

fuzz: $(SETUP) ## every parser under a coverage-guided fuzzer (SECONDS=600)
	test -d build/fuzz/atheris || $(BIN)/pip install --quiet --disable-pip-version-check --target build/fuzz/atheris atheris==3.0.0
	mkdir -p build/fuzz/corpus
	PYTHONPATH=build/fuzz/atheris nice -n 19 $(PYTHON) tests/fuzz/parsers.py build/fuzz/corpus -max_len=8192 -rss_limit_mb=1024 -timeout=10 \
	  -artifact_prefix=build/fuzz/finding- -max_total_time=$(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),600)

demo: $(SETUP) ## the main job on two hypervisor hosts in namespaces; KEEP=1 leaves it running
	KEEP=$(KEEP) $(PYTHON) -m deploy.lab demo

demo-down: $(SETUP) ## stop a laboratory that KEEP=1 left running
	$(PYTHON) -m deploy.lab down

lock: $(SETUP) ## renew requirements/dev.txt (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
	  --extra agent --extra controller --extra cli --extra s3-server --group dev pyproject.toml --upgrade -o requirements/dev.txt

clean: ## remove what was built
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help setup proto proto-baseline lint types contracts check test test-services test-laboratory test-memory test-slow bench bench-profile bench-guest bench-controller bench-pipeline bench-repository simulate soak concurrency faults fuzz demo demo-down lock clean
