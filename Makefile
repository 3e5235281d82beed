# Everything starts here: `make run` starts the gateway, `make test` runs the whole suite.
# On a fresh machine the only needs are Python 3.11 to 3.13, make and the package registries.

PYTHON ?= python3
BIN := .venv/bin
LOCKED := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes

.PHONY: run install test check bench lock clean

run: install
	@exec $(BIN)/gateway serve

install: .venv/.installed

# Debian and Ubuntu ship venv apart from python3: as root it is installed, otherwise pip says what is missing.
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14) and f"gateway needs Python 3.11 to 3.13, and {sys.executable} is {v[0]}.{v[1]}; try: make PYTHON=python3.11")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } || { echo "python3 -m venv does not work here: install python3-venv"; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@echo "installing the locked dependencies into .venv"
	@$(LOCKED) -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.installed requirements-dev.lock
	@echo "installing the locked test tools into .venv"
	@$(LOCKED) -r requirements-dev.lock
	@touch $@

# The official JavaScript clients, run by the Node that is among the test tools.
NPM_MODULES := tests/sdk/node/node_modules
$(NPM_MODULES)/.installed: tests/sdk/node/package-lock.json | .venv/.dev
	@echo "installing the locked npm packages into $(NPM_MODULES)"
	@$(BIN)/npm ci --prefix tests/sdk/node --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=1 --fetch-timeout=30000 >/dev/null \
		&& touch $@ || echo "skipping the tests with the JavaScript clients: npm could not install them"

test: .venv/.dev $(NPM_MODULES)/.installed
	@sh tests/peers/install.sh
	@$(BIN)/python -m tests $(PYTEST_ARGS)

check: .venv/.dev
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python ops/check_lock.py
	@$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_settings.py
	@$(BIN)/pip check

bench: .venv/.dev
	@$(BIN)/python -m bench $(BENCH_ARGS)
	@$(BIN)/python -m bench.setups $(SETUPS_ARGS)

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" pyproject.toml --group build -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" --constraint requirements.lock --group dev -o requirements-dev.lock
	$(BIN)/npm install --prefix tests/sdk/node --package-lock-only --ignore-scripts --no-audit --no-fund --loglevel=error

clean:
	rm -rf .venv $(NPM_MODULES) build *.egg-info
