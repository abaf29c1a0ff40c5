# Everything here sets up what it needs in .venv; only Python 3.11 or later, a C compiler and make must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check asan neon clean

demo: $(VENV)/.installed
	$(BIN)/patchsim match examples/desktop.png examples/folder.png --threshold 0.95 --overlay found.png

test: check
	$(BIN)/python -m pytest

check: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

asan: $(VENV)/.installed-for-tests
	PYTHON=$(abspath $(BIN))/python tests/asan.sh

neon:
	tests/neon.sh

$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard patchsim/engines/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
