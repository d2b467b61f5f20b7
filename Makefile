# Each target works alone on a machine with Python >= 3.10, make and a C compiler.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Without a GPU, and unless pip is told where to look, torch comes as its CPU build.
CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH := $(shell command -v nvidia-smi >/dev/null || $(PYTHON) -m pip config list 2>/dev/null | grep -qE 'index-url|find-links' || echo --extra-index-url $(CPU_INDEX))
# Bytecode is written wherever it is run: without it each of the many processes compiles all of torch again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: study test soak check
study: $(VENV)/installed  ## run the default study and print its front
	$(BIN)/python -m study.run --space noisy_label

test: $(VENV)/installed  ## run the tests (TESTS='-m slow' for the long ones)
	$(BIN)/python -m pytest $(or $(TESTS),-m "not slow and not soak" -n 2 --dist loadgroup)

soak: $(VENV)/installed  ## run what takes CI too long: hours; some of it as root, some with the real cohorts
	$(BIN)/python -m pytest -m soak

check: $(VENV)/installed  ## lint, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile $(TORCH) -c constraints.txt -e '.[test]'
	touch $@
