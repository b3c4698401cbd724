# `make` without a target lists the targets.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# GPU=1 installs TensorFlow with CUDA; run `make clean` before switching.
LOCK := $(if $(GPU),requirements-gpu.lock,requirements.lock)
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run up down restart logs ps check test test-all test-others test-stack mutations fuzz lint format bench screenshots protos lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.runtime ## Serve the models on http://127.0.0.1:5000
	@exec $(BIN)/python -m app serve

COMPOSE ?= docker compose
up: ## Start the stack, with HTTPS on this server
	@$(COMPOSE) up -d --wait

down: ## Stop the stack; certificates are kept
	@$(COMPOSE) down

# One replica at a time, each ready before the next; new images and settings take effect. nginx is
# replaced only if its image or settings changed.
restart: ## Restart the stack without losing a request
	@$(COMPOSE) up -d --no-deps --wait --force-recreate app-1
	@$(COMPOSE) up -d --no-deps --wait --force-recreate app-2
	@$(COMPOSE) up -d --no-deps --wait nginx

logs: ## Follow the logs of the stack
	@$(COMPOSE) logs --follow --tail 100

ps: ## Show the state of the stack
	@$(COMPOSE) ps

# Nothing here imports TensorFlow or starts a server, which tests/unit/conftest.py watches over; of
# generated cases it tries a few. The plugins left out take a second to import.
QUICK := tests/unit tests/docs/test_harness.py tests/docs/test_links.py tests/docs/test_tables.py
check: $(VENV)/.dev lint ## Check style and types and run the quick tests (two minutes)
	@$(BIN)/python -m pytest -p no:schemathesis -p no:playwright --hypothesis-profile quick \
		--numprocesses 2 --dist worksteal --quiet $(QUICK)

test: export MARKS := -m "not slow"
# Of each address of the document, of which tests/http/schemathesis.toml has 20.
test: export SCHEMATHESIS_EXAMPLES := 5
test: test-all ## Check the code and run every test but the slow ones

# The tests of the stack wait for most of their time, so the others run beside them, with less claim
# to the cores: the stack is under load.
test-all: $(VENV)/.dev lint ## Run the slow tests too: load for minutes, certificates, the engine
	@$(MAKE) --no-print-directory --jobs 2 --keep-going test-stack test-others

# These wait as well, for servers that start or for clocks: three at a time on two cores.
test-others:
	@nice $(BIN)/python -m pytest $(MARKS) --numprocesses 3 --dist loadfile --no-loadscope-reorder \
		--ignore tests/stack

# Shown when they have ended, or the lines of both would be mixed.
STACK_LOG := $(VENV)/stack-tests.log
test-stack:
	@$(BIN)/python -m pytest $(MARKS) tests/stack > $(STACK_LOG) 2>&1; status=$$?; \
		cat $(STACK_LOG); exit $$status

mutations: $(VENV)/.dev ## Take out behaviours, see a test fail for each
	@$(BIN)/python -m tests.mutations

# FUZZ_ARGS: further options of `python -m tests.fuzz --help`, such as `--seed 7`.
MINUTES ?= 2
fuzz: $(VENV)/.dev ## Send mutated and very large requests to a server for MINUTES (2)
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(FUZZ_ARGS)

lint: $(VENV)/.dev lint-js ## Style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/shellcheck .ci/run nginx/*.sh nginx/acme/*.sh

format: $(VENV)/.dev ## Lay out the code and fix what can be fixed
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format
	@[ ! -x $(BIOME) ] || $(BIOME) check --write

# PEERS=1 measures other servers for models instead, which takes about two hours, and writes the
# results into benchmarks/README.md; without `--publish`, PEERS_ARGS="..." prints them only.
PEERS_VENV := .venv-peers
PEERS_PYTHON ?= $(PYTHON)
PEERS_ARGS ?= --publish
PEERS_LOCK := benchmarks/peers/requirements.lock
bench: $(VENV)/.dev $(if $(PEERS),$(PEERS_VENV)/.peers) ## Compare with a script, or with PEERS=1 with other servers (needs wrk)
ifdef PEERS
	@$(BIN)/python -m benchmarks.peers --python $(PEERS_VENV)/bin/python $(PEERS_ARGS)
else
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.starts
endif

$(PEERS_VENV)/.peers: $(PEERS_LOCK)
	@echo "Installing the packages of $(PEERS_LOCK) into $(PEERS_VENV) (once, takes minutes)..."
	@[ -x $(PEERS_VENV)/bin/python ] || $(PEERS_PYTHON) -m venv $(PEERS_VENV)
	@$(PEERS_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r $(PEERS_LOCK)
	@touch $@

screenshots: $(VENV)/.dev ## Take the pictures of the documentation (needs Chromium)
	@$(BIN)/python -m tests.browser.screenshots

PROTOS := app/api/grpc/protos
protos: $(VENV)/.dev ## Compile the messages of the gRPC services
	@$(BIN)/python -m grpc_tools.protoc -I$(PROTOS) --include_imports \
		--descriptor_set_out=$(PROTOS).binpb $(sort $(wildcard $(PROTOS)/*.proto))

# The CPU locks need the overrides, and are for x86-64 and ARM64: tests/wheels.py looks for what a
# lock lacks on one of them.
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-header \
	--no-annotate --quiet
CPU := --extra cpu --overrides requirements-cpu.overrides
lock: $(VENV)/.dev ## Update the locked dependencies
	$(COMPILE) --upgrade $(CPU) --output-file requirements.lock
	$(COMPILE) --upgrade $(CPU) --group dev \
		--constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --upgrade --extra gpu --constraint requirements.lock \
		--output-file requirements-gpu.lock
	$(BIN)/uv pip compile --group sync --universal --generate-hashes --no-header --no-annotate \
		--quiet --upgrade --constraint requirements-dev.lock --output-file requirements-sync.lock
	$(BIN)/uv pip compile nginx/acme/requirements.in --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --upgrade \
		--output-file nginx/acme/requirements.lock
	$(BIN)/uv pip compile benchmarks/peers/requirements.in --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --upgrade --output-file $(PEERS_LOCK)
	$(BIN)/python -m tests.wheels

clean: ## Remove the environment and all caches
	rm -rf $(VENV) $(PEERS_VENV) node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or \
		sys.exit("Keraport needs Python 3.11, 3.12 or 3.13, this is %d.%d: make PYTHON=python3.13 ..." % v)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "The virtual environment could not be created: on Debian, apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: $(LOCK) | $(BIN)/python
	@echo "Installing the packages of $(LOCK) into $(VENV) (once, takes minutes)..."
	@$(INSTALL) -r $(LOCK)
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(BIN)/python
	@echo "Installing the packages of requirements-dev.lock into $(VENV) (once, takes minutes)..."
	@$(INSTALL) -r requirements-dev.lock
	@touch $@ $(VENV)/.runtime

# Biome, which comes from npm. Nothing that runs or tests Keraport needs either.
BIOME := node_modules/.bin/biome
.PHONY: lint-js
lint-js: $(if $(shell command -v npm 2>/dev/null),$(BIOME))
	@if [ -x $(BIOME) ]; then $(BIOME) check --error-on-warnings; \
		else echo "JavaScript is not checked: npm is missing, which installs Biome"; fi

# Without the registry of npm, the rest can be checked all the same.
$(BIOME): package-lock.json
	@npm ci --no-audit --no-fund --loglevel error && touch $@ || \
		echo "npm could not install what package-lock.json lists"
