# `make demo` and `make test` work on a bare Debian 12 with git, make and python3; everything else is made on the way.
# ARGS goes to the command behind a target: make test ARGS="-k relay", make up ARGS="--replicas order_service=2".

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
READY := .venv/.complete
ORDERSAGA := $(BIN)/ordersaga
PACKAGES := order_service inventory_service payment_service finance_service gateway shared cdc ops benchmarks scripts
COMPILE := $(BIN)/pip-compile --quiet --allow-unsafe --generate-hashes --no-emit-find-links --no-emit-index-url --strip-extras
# Modules side by side, each worker with a broker and databases of its own; a module's tests stay together, in order.
WORKERS ?= 2
SIDE_BY_SIDE := --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
ARGS ?=

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements-dev.lock setup.cfg
	@PYTHON="$(PYTHON)" sh ops/bootstrap.sh

.PHONY: venv
venv: $(READY) ## Make .venv with the locked packages (the other targets do this when needed)

CDC_READY := .venv/.cdc-complete
$(CDC_READY): $(READY) requirements-cdc.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-cdc.lock
	@$(BIN)/python -m ops.change_data install
	@touch $@

.PHONY: cdc
cdc: $(CDC_READY) ## Install what change data capture needs: Debezium (200 MB) and Java; then: make up ARGS=--cdc

.PHONY: up down status logs demo
up: $(READY) ## Start RabbitMQ, PostgreSQL, services, relays and gateway; install what is missing
	@$(ORDERSAGA) up $(ARGS)

down: $(READY) ## Stop all of that
	@$(ORDERSAGA) down $(ARGS)

status: $(READY) ## Show what runs
	@$(ORDERSAGA) status $(ARGS)

logs: $(READY) ## Show the last lines of every log
	@$(ORDERSAGA) logs $(ARGS)

demo: $(READY) ## Start everything, play the scenarios, print their timelines
	@$(ORDERSAGA) demo $(ARGS)

.PHONY: walkthrough
walkthrough: $(READY) ## Play the README's walk through the HTTP API with curl, and check each answer
	@ops/walkthrough.sh $(ARGS)

.PHONY: test test-ui test-cdc screenshots unit integration simulate
test: $(READY) ## Run all tests but those in a browser (on stacks of their own in .stack-test*)
	@# First those that open no socket; 5 is pytest's word for "none of ARGS here".
	$(BIN)/pytest --numprocesses=$(WORKERS) tests/unit tests/contracts $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/pytest $(SIDE_BY_SIDE) tests/e2e tests/integration tests/simulation $(ARGS)

test-cdc: $(CDC_READY) ## Capture changes with the real Debezium: kill it, take its broker away, pause it
	$(BIN)/pytest $(SIDE_BY_SIDE) tests/cdc $(ARGS)

test-ui: $(READY) ## Use the dashboard in a real Chromium (Debian's; installed if missing)
	$(BIN)/pytest $(SIDE_BY_SIDE) tests/ui $(ARGS)

screenshots: $(READY) ## Make the README's pictures of the dashboard anew, with the tests that visit those pages
	ORDERSAGA_SCREENSHOTS=docs/images $(BIN)/pytest tests/ui -m picture $(ARGS)

unit: $(READY) ## Run the tests that open no socket
	$(BIN)/pytest --numprocesses=$(WORKERS) tests/unit $(ARGS)

integration: $(READY) ## Run the tests on real RabbitMQ and PostgreSQL
	$(BIN)/pytest $(SIDE_BY_SIDE) tests/integration $(ARGS)

simulate: $(READY) ## Play the services' code against a bad network, deterministically (ARGS="--schedules 3000", "--seed 7", "--mutations")
	$(BIN)/python -m tests.simulation $(ARGS)

.PHONY: fuzz fuzz-quick
fuzz: $(READY) ## Send the stack every kind of request its OpenAPI document allows or forbids (ARGS="--seed 7", "--examples 500")
	$(BIN)/python -m tests.fuzz $(ARGS)

fuzz-quick: $(READY) ## A slice of that in about two minutes
	$(BIN)/python -m tests.fuzz --quick $(ARGS)

.PHONY: faults faults-quick soak
faults: $(READY) ## Kill, freeze, fill and lie to everything while orders are placed, then check that all is whole (ARGS="--only storm", "--seed 7", "--seeded-errors")
	$(BIN)/python -m tests.faults $(ARGS)

faults-quick: $(READY) ## A slice of that for CI, with two errors that it must find
	$(BIN)/python -m tests.faults --quick $(ARGS)

soak: $(READY) ## An hour of half load and random faults: does anything grow? (ARGS="--minutes 10")
	$(BIN)/python -m tests.faults --soak $(ARGS)

.PHONY: check format
check: $(READY) ## Lint, formatting, types, walls between packages, declared choreography, released event schemas
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(PACKAGES)
	$(BIN)/lint-imports
	$(BIN)/python -m shared.event_contracts check
	$(BIN)/python -m shared.choreography check

format: $(READY) ## Format the code and sort its imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: contract schemas board styles
contract: $(READY) ## Write rabbitmq/definitions.json, docs/events.md, docs/asyncapi.json… anew from rabbitmq/choreography.yml
	$(BIN)/python -m shared.choreography write

schemas: $(READY) ## Release the events whose classes say a new version: docs/schemas/<EVENT>/<version> (docs/changing_events.md)
	$(BIN)/python -m shared.event_contracts write
	$(BIN)/python -m shared.choreography write

board: $(READY) ## Draw the pictures of /docs/events/board anew (Mermaid by npm, Chromium; for developers)
	$(BIN)/python -m ops.drawing

styles: $(READY) ## Leave out of Tabler's styles what no page of the dashboard uses (for developers, after a change of its templates)
	@$(BIN)/python -m ops.styles

.PHONY: bench bench-quick
bench: $(READY) ## Measure throughput, latency and cost of whole sagas; the last line is JSON (ARGS="--only http")
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(READY) ## The same on smaller counts, in under three minutes
	$(BIN)/python -m benchmarks --quick $(ARGS)

.PHONY: bench-page
bench-page: $(READY) ## Put the results of the last `make bench` into docs/performance.md, with plots
	$(BIN)/python -m benchmarks.plots --results .bench/results.json $(ARGS)

.PHONY: first-view
first-view: $(READY) ## Measure how soon a browser shows each main page of the dashboard of `make up` (ARGS="--rounds 9")
	$(BIN)/python -m benchmarks.first_view $(ARGS)

.PHONY: lock
lock: $(READY) ## Resolve the dependencies of setup.cfg anew into the three lock files (ARGS="--upgrade" for newer ones)
	$(COMPILE) --output-file=requirements.lock $(ARGS) setup.cfg
	$(COMPILE) --constraint=requirements.lock --extra=dev --output-file=requirements-dev.lock $(ARGS) setup.cfg
	$(COMPILE) --constraint=requirements.lock --extra=cdc --output-file=requirements-cdc.lock $(ARGS) setup.cfg

.PHONY: clean distclean
clean: ## Remove caches, build leftovers and the tests' stacks; keeps .venv and the data in .stack
	@for stack in .stack-test*; do \
	  if [ -x $(ORDERSAGA) ] && [ -d $$stack ]; then $(ORDERSAGA) --stack $$stack down --delete-data; fi; \
	done
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## clean, and remove the stack with its data and .venv
	@if [ -x $(ORDERSAGA) ] && [ -d .stack ]; then $(ORDERSAGA) down --delete-data; fi
	rm -rf .venv ordersaga.egg-info
