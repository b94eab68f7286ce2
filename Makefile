# Every target does its own set-up: Python 3.11 or newer (with its venv module) and make are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: install demo test lint bench soak lock clean browser axe cards
.DEFAULT_GOAL := install

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Leadlight needs Python 3.11, 3.12 or 3.13 (found %d.%d): run make PYTHON=python3.12" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Leadlight into $(VENV) (a minute or two the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	@$(BIN)/leadlight demo

lint: install
	$(BIN)/ruff check connector scoring manifests tests
	$(BIN)/ruff format --check connector scoring manifests tests
	$(BIN)/mypy
	$(BIN)/lint-imports

# The browser tests need Debian's Chromium and axe-core (by npm, checked against its lock file).
browser:
	@test -x /usr/bin/chromium || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; } \
		|| { echo "The browser tests need /usr/bin/chromium: install it (apt-get install chromium)." >&2; exit 1; }

axe: tests/browser/node_modules/axe-core/axe.min.js

tests/browser/node_modules/axe-core/axe.min.js: tests/browser/package-lock.json
	@command -v npm >/dev/null || { echo "make test needs npm (Node.js), for the browser tests only." >&2; exit 1; }
	@cd tests/browser && npm ci --silent --no-audit --no-fund
	@touch $@

# The record cards in manifests/, as `leadlight manifest` writes them: lint, types, tests, and pages to look at.
cards: install tests/cards/node_modules/.installed
	@$(BIN)/python -m tests.cards
	@cd tests/cards && npm run --silent check

tests/cards/node_modules/.installed: tests/cards/package-lock.json
	@command -v npm >/dev/null || { echo "make test needs npm (Node.js 20.19 or newer), for tests only; the product does not." >&2; exit 1; }
	@cd tests/cards && npm ci --silent --no-audit --no-fund
	@touch $@

# The tests start some hundred processes: without compiled files, which container images often forbid, each of them
# compiles everything anew.
test: export PYTHONDONTWRITEBYTECODE :=
test: lint browser axe cards
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not soak"

bench: install
	$(BIN)/python -m tests.benchmarks

soak: install
	$(BIN)/pytest -q -m "soak"

lock: install
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache
