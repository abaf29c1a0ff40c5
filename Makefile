# Everything here sets up what it needs in .venv; only Python 3.11 or later, a C compiler and make must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# On Linux PyPI's torch brings 2.8 GB of CUDA packages. Where PyTorch's own index of CPU builds
# answers, torch comes from there; `make demo TORCH_INDEX=` leaves the choice to pip's settings.
CPU_BUILDS := https://download.pytorch.org/whl/cpu
ANSWERS := import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=3).close()
TORCH_INDEX ?= $(shell $(PYTHON) -c '$(ANSWERS)' $(CPU_BUILDS)/torch/ 2>/dev/null && echo $(CPU_BUILDS))
PIP_INSTALL = $(BIN)/pip install $(addprefix --extra-index-url=,$(TORCH_INDEX))

.PHONY: demo test slow check docs asan neon clean

demo: $(VENV)/.installed
	$(BIN)/patchsim match examples/desktop.png examples/folder.png --threshold 0.95 --overlay found.png --report found.html
	@echo "The page found.html shows what was found: open it in a browser."

test: check
	$(BIN)/python -m pytest -n auto --dist worksteal

slow: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

check: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet .github

docs: $(VENV)/.installed-for-tests
	$(BIN)/zensical build --strict

asan: $(VENV)/.installed-for-tests
	PYTHON=$(abspath $(BIN))/python tests/asan.sh

neon:
	tests/neon.sh

$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard patchsim/*/*.[ch])
	$(PYTHON) -m venv $(VENV)
	@echo "Installing patchsim and what it needs into $(VENV). torch is the large part: 0.2 GB to"
	@echo "download as a CPU build, 2.8 GB with CUDA. pip shows which one it takes, and its progress."
	$(PIP_INSTALL) -c constraints.txt -e .
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed constraints-ci.txt
	$(PIP_INSTALL) -c constraints-ci.txt -e '.[test,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist site .cache *.egg-info
