# `make search` and `make test` need Python >= 3.11 and make; they set up .venv themselves.

TARGET ?= 15ms
ARGS ?=
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if $$python -c $(USABLE) >/dev/null 2>&1; then echo $$python; break; fi; done)

USABLE := 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
BIN := .venv/bin
PIP := $(BIN)/python -m pip
INSTALL := $(PIP) install --disable-pip-version-check --no-input -c constraints.txt
SETUP := .venv/.search.stamp
TEST_SETUP := .venv/.test.stamp

.DEFAULT_GOAL := help
.PHONY: help search test format clean distclean

search: $(SETUP) ## search a network for this machine: make search TARGET=20ms
	$(BIN)/python -m nas.search +target_latency=$(TARGET) $(ARGS)

test: $(TEST_SETUP) ## lint, types, import contracts and tests: make test ARGS="-k onnx"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

format: $(TEST_SETUP) ## rewrite the code in the project's layout, imports sorted
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches and build output
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## remove .venv as well; runs/ and tables/ stay
	rm -rf .venv

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 18
	@echo
	@echo 'PYTHON=... chooses the interpreter that .venv is made with (3.11 or newer).'
	@echo 'PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu takes the small, CPU-only torch.'

# A stamp is the last thing its recipe makes, so a set-up that was interrupted starts again.
$(SETUP): pyproject.toml constraints.txt
	@rm -f $@
	@if ! $(BIN)/python -c $(USABLE) 2>/dev/null || ! $(PIP) --version >/dev/null 2>&1; then \
		if ! "$(PYTHON)" -c $(USABLE) >/dev/null 2>&1; then \
			echo 'error: no usable Python found (PYTHON="$(PYTHON)").' >&2; \
			echo 'Python >= 3.11 with its venv and ensurepip modules is needed; on Debian and' >&2; \
			echo 'Ubuntu: apt install python3 python3-venv. Or: make PYTHON=/path/to/python3' >&2; \
			exit 1; \
		fi; \
		echo "==> Making .venv with $(PYTHON) (`"$(PYTHON)" --version`)"; \
		rm -rf .venv && "$(PYTHON)" -m venv .venv; \
	fi
	@echo '==> Installing pip and setuptools'
	@$(INSTALL) pip setuptools
	@echo '==> Installing torch; this is the large one and takes a few minutes'
	@$(INSTALL) torch
	@echo '==> Installing chronas and what it needs'
	@$(INSTALL) --no-build-isolation -e .
	@touch $@
	@echo '==> Ready'

$(TEST_SETUP): $(SETUP)
	@rm -f $@
	@echo '==> Installing what the tests need'
	@$(INSTALL) --no-build-isolation -e '.[tests,grpc,huggingface,postgresql,ray,tensorboard]'
	@echo '==> Installing what tests compare against'
	@$(INSTALL) --no-deps torchvision timm torch-pruning axe-playwright-python
	@touch $@
	@echo '==> Ready to test'
