# `make` alone lists what there is.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# GPU=1 takes TensorFlow with CUDA; `make clean` before changing one for the other.
LOCK := $(if $(GPU),requirements-gpu.lock,requirements.lock)
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run up down restart logs ps test fuzz lint format bench screenshots lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.runtime ## Serve the models on http://127.0.0.1:5000
	@exec $(BIN)/python -m app serve

COMPOSE ?= docker compose
up: ## Start the stack, HTTPS on this server
	@$(COMPOSE) up -d --wait

down: ## Stop the stack; certificates stay
	@$(COMPOSE) down

# One replica at a time, each ready before the next; what was built or set meanwhile takes effect.
# nginx is replaced only if its image or settings changed.
restart: ## Restart the stack without losing a request
	@$(COMPOSE) up -d --no-deps --wait --force-recreate app-1
	@$(COMPOSE) up -d --no-deps --wait --force-recreate app-2
	@$(COMPOSE) up -d --no-deps --wait nginx

logs: ## Follow the logs of the stack
	@$(COMPOSE) logs --follow --tail 100

ps: ## Show the state of the stack
	@$(COMPOSE) ps

# The stack has the machine to itself: its load takes all of it.
test: $(VENV)/.dev lint ## Check the code and run all tests
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --ignore tests/stack
	@$(BIN)/python -m pytest tests/stack

# FUZZ_ARGS: what else `python -m tests.fuzz --help` lists, such as `--seed 7`.
MINUTES ?= 2
fuzz: $(VENV)/.dev ## Send a server mutated and very large requests for MINUTES (2)
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(FUZZ_ARGS)

lint: $(VENV)/.dev ## Style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/shellcheck .ci/run nginx/*.sh nginx/acme/*.sh

format: $(VENV)/.dev ## Lay out the code, mend what can be mended
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(VENV)/.dev ## Measure against the ceiling and against gunicorn (needs wrk)
	@$(BIN)/python -m benchmarks

screenshots: $(VENV)/.dev ## Take the pictures of the documentation (needs Chromium)
	@$(BIN)/python -m tests.browser.screenshots

# tf-keras asks for `tensorflow` by name, which tensorflow-cpu provides under another: the CPU locks
# leave it out, and pip installs exactly what they list.
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-header \
	--no-annotate --quiet
lock: $(VENV)/.dev ## Update the locked dependencies
	$(COMPILE) --upgrade --extra cpu --no-emit-package tensorflow --output-file requirements.lock
	$(COMPILE) --upgrade --extra cpu --no-emit-package tensorflow --group dev \
		--constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --upgrade --extra gpu --constraint requirements.lock \
		--output-file requirements-gpu.lock
	$(BIN)/uv pip compile nginx/acme/requirements.in --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --upgrade \
		--output-file nginx/acme/requirements.lock

clean: ## Remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or \
		sys.exit("Keraport needs Python 3.11, 3.12 or 3.13, this is %d.%d: make PYTHON=python3.13 ..." % v)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "No virtual environment could be made: on Debian, apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: $(LOCK) | $(BIN)/python
	@echo "Installing what $(LOCK) lists into $(VENV) (once, some minutes)..."
	@$(INSTALL) -r $(LOCK)
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(BIN)/python
	@echo "Installing what requirements-dev.lock lists into $(VENV) (once, some minutes)..."
	@$(INSTALL) -r requirements-dev.lock
	@touch $@ $(VENV)/.runtime
