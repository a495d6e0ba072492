# Jawab. `make` alone lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo up sync test check lint types layers schemas unit integration e2e crash chaos coverage people tenants bench load fuzz clean

UV := scripts/uv
RUN := $(UV) run --frozen --all-groups --no-group fuzz
# What only runs Jawab needs none of the checks' packages.
TOOL := $(UV) run --frozen --no-default-groups

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## from a bare machine: start everything, play twelve conversations, show each, exit 0 only if all was right
	@$(TOOL) jawab demo

up: ## start everything and stay up; prints the addresses
	@$(TOOL) jawab up

sync: ## install everything the checks need into .venv
	$(UV) sync --frozen --all-groups --no-group fuzz

test: check unit integration e2e crash ## everything CI runs

check: lint types layers ## style, types, layers

lint: ## style
	$(RUN) ruff format --check .
	$(RUN) ruff check .

types: ## mypy, strict
	$(RUN) mypy

layers: ## who may import whom
	$(RUN) lint-imports

unit: ## tests that need no server
	$(RUN) pytest -n auto --dist loadfile libs services tools tests/contract tests/chart tests/fuzz -m "not kafka and not mongo"

integration: ## tests against real Kafka and the MongoDB wire
	$(RUN) pytest libs services tools tests/integration -m "kafka or mongo"

e2e: ## the whole system as processes
	$(RUN) pytest tests/e2e

crash: ## 25 kills under load, and that builds without their guarantees are caught
	$(RUN) pytest tests/crash

KILLS := 200
chaos: ## kill, freeze and cut everything under load: KILLS=200 SEED=… to repeat, MINUTES=… at least, SABOTAGE=…
	@$(RUN) python tests/crash/run.py --kills=$(KILLS) $(if $(SEED),--seed=$(SEED)) $(if $(MINUTES),--minutes=$(MINUTES)) $(if $(SABOTAGE),--sabotage=$(SABOTAGE))

COUNT := 200
people: ## people who answer while replies are on their way: COUNT=200 SEED=… to repeat, SABOTAGE=no_lookout to see it caught
	@$(RUN) python tests/crash/people.py --count=$(COUNT) $(if $(SEED),--seed=$(SEED)) $(if $(SABOTAGE),--sabotage=$(SABOTAGE))

tenants: ## one merchant in every trouble, another merchant's first answers timed: SECONDS=20 a trouble, TROUBLES="flood typo"
	@$(RUN) python tests/crash/tenants.py $(TROUBLES) $(if $(SECONDS),--seconds=$(SECONDS)) $(if $(SEED),--seed=$(SEED))

coverage: ## how much of the code the tests without servers reach
	$(RUN) pytest libs services -m "not kafka and not mongo" --cov --cov-report=term

schemas: ## write docs/schemas from the event classes
	$(RUN) python -m common.events.schemas docs/schemas

bench: ## what consuming in order costs and holds, against FastStream's own loop: under six minutes, or PARTS=…
	$(RUN) python tests/bench/keyed.py $(PARTS)

fuzz: ## bytes nobody thought of, through the reading of webhooks, guided by coverage: MINUTES=10
	@$(UV) run --frozen --all-groups python tests/fuzz/webhook_body.py --minutes $(or $(MINUTES),10)

load: ## webhooks per second, and how long from a webhook to its delivered reply
	$(RUN) python tests/load/run.py

clean: ## remove what the commands above made here (not the cache folder)
	rm -rf .venv .run .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage reports
