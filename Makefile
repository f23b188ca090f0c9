# Every step that CI runs, and the ones a developer types. `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO_DIR := protos/outrider_protos/v1
PY_DIRS := sdk agent collector alerting dashboard tests bench

.DEFAULT_GOAL := help
.PHONY: help run setup format lint types imports test chaos bench protos protos-check lock check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.run-installed: pyproject.toml requirements/run.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev-installed: pyproject.toml requirements/dev.lock $(VENV)/.run-installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

run: $(VENV)/.run-installed ## everything on this machine, with a demo fleet
	@$(BIN)/outrider up --demo

setup: $(VENV)/.dev-installed ## the developer's environment in .venv

format: setup ## write the code in its one form
	$(BIN)/ruff format $(PY_DIRS)
	$(BIN)/ruff check --fix $(PY_DIRS)

lint: setup ## formatting and lint, changes nothing
	$(BIN)/ruff format --check $(PY_DIRS)
	$(BIN)/ruff check $(PY_DIRS)

types: setup ## mypy, strict
	$(BIN)/mypy sdk/outrider agent/outrider_agent alerting/outrider_alerting collector/outrider_collector dashboard/outrider_dashboard tests bench

imports: setup ## who may import whom
	$(BIN)/lint-imports

test: setup ## every test; needs no service, no root, no network
	$(BIN)/pytest --numprocesses auto --dist loadfile

chaos: setup ## the kill test, longer: make chaos ROUNDS=500 SEED=7; its last lines are the verdict
	OUTRIDER_CHAOS_ROUNDS=$(or $(ROUNDS),100) OUTRIDER_CHAOS_SEED=$(or $(SEED),1) $(BIN)/pytest -m chaos -s --timeout=5400 tests/chaos

bench: setup ## figures on this machine, into bench/results.json
	$(BIN)/python -m bench

# The generator is the oldest that the lower bounds in pyproject.toml promise: newer generated
# code refuses to load on an older runtime, the other way round works.
.venv-protos/.installed: requirements/protos.lock
	@test -x .venv-protos/bin/python || $(PYTHON) -m venv .venv-protos
	.venv-protos/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/protos.lock
	@touch $@

protos: .venv-protos/.installed ## generate Python from the .proto files
	cd protos && ../.venv-protos/bin/python -W ignore -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. outrider_protos/v1/*.proto

protos-check: ## the committed generated code is what the .proto files say
	$(MAKE) --no-print-directory protos
	@git diff --exit-code --stat -- protos || { echo "protos: generated code differs: run 'make protos' and commit" >&2; exit 1; }

lock: setup ## resolve the lock files anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --extra all pyproject.toml requirements/build.in -o requirements/run.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements/dev.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 requirements/protos.in -o requirements/protos.lock

check: lint types imports protos-check test ## what CI runs

clean: ## remove what was built, keep data
	rm -rf $(VENV) .venv-protos .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
