"""Imports go one way, and none of the commands that need no framework imports one."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import conformance
from conformance.adapters.registry import BUILT_IN

PACKAGE = Path(conformance.__file__).parent
FRAMEWORKS = sorted({each for known in BUILT_IN for each in known.packages} - {"numpy"})

#: Module -> the modules of the package it may import. A module that is not listed has to be added, with thought.
ALLOWED: dict[str, set[str]] = {
    "case": set(),
    "formats": set(),
    "rule": {"case"},
    "draw": {"case", "formats"},
    "exact_lane": {"draw"},
    "uniform_lanes": {"draw"},
    "special_lanes": {"draw"},
    "values": {"case", "draw", "exact_lane", "special_lanes", "uniform_lanes"},
    "chance": set(),
    "enclosure": {"formats"},
    "activation_base": {"enclosure"},
    "piecewise_activations": {"activation_base", "enclosure"},
    "smooth_activations": {"activation_base", "enclosure"},
    "activations": {"activation_base", "enclosure", "piecewise_activations", "smooth_activations"},
    "precise": {"draw", "enclosure"},
    "reference": {
        "activation_base",
        "activations",
        "chance",
        "draw",
        "enclosure",
        "formats",
        "piecewise_activations",
        "precise",
        "smooth_activations",
    },
    "adapters.protocol": {"case"},
    "adapters.implementation": set(),
    "adapters.built_in": {"adapters.implementation"},
    "adapters.registry": {"adapters.built_in", "adapters.implementation"},
    "adapters.installation": set(),
    "steps": {"adapters.protocol", "answers", "layouts", "shown"},
    "ledger": {
        "adapters.protocol",
        "case",
        "document",
        "draw",
        "enclosure",
        "files",
        "formats",
        "model",
        "reference",
        "steps",
    },
    "checks": {
        "adapters.protocol",
        "adapters.registry",
        "case",
        "cell",
        "chance",
        "conduct",
        "document",
        "draw",
        "enclosure",
        "formats",
        "ledger",
        "metamorphic",
        "question",
        "reference",
        "rule",
        "shown",
        "steps",
        "values",
    },
    "metamorphic": {"adapters.protocol", "case", "enclosure", "formats", "steps", "values"},
    "conduct": {"adapters.protocol", "formats", "values"},
    "question": {"adapters.protocol", "case", "conduct", "formats", "metamorphic", "reference", "steps", "values"},
    "measured": set(),
    "output": {"results"},
    "results": set(),
    "explain": {"case", "layer_table", "notation", "rule"},
    "notation": {"layer_table", "rule"},
    "terminal": set(),
    "layer_table": {"rule"},
    "yaml12": set(),
    "document": {"yaml12"},
    "model": {"document"},
    "files": set(),
    "row": {"case", "model"},
    "literal": {"case", "document", "model", "row"},
    "expansion": {"case", "document", "literal", "model", "row", "rule"},
    "table": {"case", "document", "expansion", "files", "model", "row"},
    "random_cases": {"case", "draw", "table"},
    "answers": {"shown"},
    "layouts": {"adapters.protocol"},
    "channel": {"adapters.protocol", "answers", "steps"},
    "child": {"adapters.protocol", "channel", "steps"},
    "environment": set(),
    "allowance": set(),
    "instruction_set": {"adapters.implementation"},
    "process": {"adapters.registry", "allowance", "channel", "child", "environment", "shown", "steps"},
    "investigator": {"adapters.protocol", "process", "steps"},
    "in_process": {"adapters.protocol", "adapters.registry", "channel", "child", "environment", "process", "steps"},
    "sandbox": {"adapters.registry", "allowance", "channel", "in_process", "investigator", "process", "steps"},
    "reproduce": {
        "adapters.protocol",
        "adapters.registry",
        "case",
        "draw",
        "instruction_set",
        "question",
        "results",
        "steps",
        "table",
        "values",
    },
    "cell": {"adapters.registry", "case", "metamorphic", "question"},
    "suite": {
        "adapters.installation",
        "adapters.registry",
        "behaviours",
        "cell",
        "checks",
        "environment",
        "instruction_set",
        "ledger",
        "question",
        "reproduce",
        "results",
        "sandbox",
        "steps",
        "values",
    },
    "selection": {
        "adapters.installation",
        "adapters.registry",
        "case",
        "cell",
        "document",
        "expected_time",
        "ledger",
        "random_cases",
        "results",
        "sandbox",
        "sharding",
        "shown",
        "table",
    },
    "linting": {
        "adapters.registry",
        "case",
        "cell",
        "checks",
        "document",
        "ledger",
        "model",
        "question",
        "table",
        "values",
    },
    "behaviours": set(),
    "distinction": set(),
    "tally": {"behaviours", "results"},
    "light_reports": set(),
    "summary": {"behaviours", "results", "tally"},
    "progress": {"results"},
    "triage": {"behaviours", "distinction", "results", "shown"},
    "badge": {"results"},
    "expected_time": {"results"},
    "sharding": set(),
    "scheduler": set(),
    "workers": set(),
    "travel": {"adapters.registry", "cell", "ledger", "selection", "workers"},
    "machines": {"adapters.installation", "adapters.registry", "selection", "travel", "workers"},
    "distribution": {"at_fault", "expected_time", "machines", "scheduler"},
    "running": {
        "adapters.registry",
        "cell",
        "distribution",
        "environment",
        "expected_time",
        "instruction_set",
        "ledger",
        "machines",
        "measured",
        "output",
        "progress",
        "results",
        "results.record",
        "sandbox",
        "selection",
        "suite",
        "tally",
        "travel",
        "workers",
    },
    "plugin": {
        "at_fault",
        "case",
        "instruction_set",
        "light_reports",
        "output",
        "progress",
        "results",
        "running",
        "sandbox",
        "selection",
        "suite",
        "summary",
        "terminal",
    },
    "shown": set(),
    "brief": {"behaviours", "results"},
    "diff": {"behaviours", "brief", "results"},
    "diff_told": {"diff", "results", "shown"},
    "columnar": {"results"},
    "history": {"columnar", "shown"},
    "causes": {"diff", "results", "shown"},
    "nightly": {"badge", "causes", "diff", "diff_told", "history", "report", "results", "shown"},
    "issue_tracker": {"causes"},
    "at_fault": {"shown"},
    "nightly_commands": {"at_fault", "behaviours", "issue_tracker", "nightly", "results"},
    "merging": {"behaviours", "measured", "results"},
    "merge_command": {"at_fault", "merging", "results"},
    "search": {
        "adapters.registry",
        "case",
        "cell",
        "sandbox",
        "ledger",
        "question",
        "results",
        "steps",
        "suite",
        "table",
        "values",
        "workers",
    },
    "search_command": {"at_fault", "sandbox", "search", "search.told", "selection", "suite"},
    "known": {"ledger", "reference"},
    "coverage": {"case"},
    "report": {"behaviours", "results", "results.record"},
    "planned": {"adapters.installation", "selection"},
    "page_command": {"at_fault", "diff", "diff_told", "history", "report", "results"},
    "run_command": {"at_fault", "instruction_set", "page_command", "planned", "results", "selection"},
    "cli": {
        "adapters.installation",
        "adapters.registry",
        "at_fault",
        "badge",
        "case",
        "checks",
        "coverage",
        "diff",
        "diff_told",
        "columnar",
        "history",
        "merge_command",
        "nightly_commands",
        "page_command",
        "run_command",
        "known",
        "explain",
        "linting",
        "random_cases",
        "reproduce",
        "reproduce.cells",
        "results",
        "search_command",
        "selection",
        "terminal",
        "triage",
    },
}
#: What adapters of relatives share, of a library and not of its layers -> who may import it.
SHARED = {
    "adapters.keras_backends": {"adapters.keras"},
    "adapters.keras_layers": {"adapters.keras"},
    "adapters.jax_arrays": {
        "adapters.equinox",
        "adapters.flax_linen",
        "adapters.flax_nnx",
        "adapters.haiku",
        "adapters.jax_numpy",
    },
}
#: Packages of which others may import any module; of another package, `ALLOWED` names the module.
OPEN = ("checks", "ledger", "reference")
#: Packages whose modules may import each other.
PACKAGES = (*OPEN, "report", "reproduce", "results", "search")
#: What may never be reached from these modules, however indirectly.
BORDERS = {
    "reference": {"adapters", "steps", "ledger", "checks", "suite", "plugin"},
    "ledger": {"question", "checks", "sandbox", "suite", "plugin", "table"},
    "checks": {"sandbox", "suite", "plugin", "table"},
    "report": {"case", "rule", "values", "reference", "checks", "adapters", "sandbox", "suite", "table", "ledger"},
}


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the dotted name, below the package, and the file of every module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            yield name, path


def imported(source: str) -> set[str]:
    """Return the modules of the package a source imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            # What is imported from a package may be a module of it.
            inner = {f"{node.module}.{each.name}" for each in node.names}
            names |= {each for each in inner if each in MODULES} or {node.module}
        elif isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
    return {each.removeprefix("conformance.") for each in names if each.startswith("conformance.")}


def top(name: str) -> str:
    package = name.partition(".")[0]
    return package if package in PACKAGES else name


MODULES = {f"conformance.{name}" for name, _ in modules()}
GRAPH = {name: imported(path.read_text(encoding="utf-8")) for name, path in modules()}


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_module_imports_what_it_may(name: str) -> None:
    parts = [each for each in GRAPH if top(each) == name]
    assert parts
    reached = {each for part in parts for each in GRAPH[part] if top(each) != name}
    assert {top(each) if top(each) in OPEN else each for each in reached} <= ALLOWED[name]


def test_every_module_has_its_place_in_the_order() -> None:
    placed = set(ALLOWED) | {each for each in GRAPH if each.split(".")[0] == "adapters"}
    assert {top(each) for each in GRAPH} - {"__main__"} == placed


#: What is known of implementations without importing one; `ALLOWED` holds these as well.
REGISTRY = {"adapters.built_in", "adapters.implementation", "adapters.installation", "adapters.registry"}


@pytest.mark.parametrize("name", sorted({each for each in GRAPH if each.startswith("adapters.")} - REGISTRY))
def test_an_adapter_knows_the_protocol_the_case_and_what_is_shared_with_it(name: str) -> None:
    shared = {each for each, users in SHARED.items() if name in users}
    assert GRAPH[name] <= {"adapters.protocol", "case", *shared}


def test_what_is_shared_is_shared() -> None:
    for name, users in SHARED.items():
        assert {each for each in GRAPH if name in GRAPH[each]} == users


def test_no_import_goes_in_a_circle() -> None:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for each in GRAPH.get(name, ()):
                visit(each, (*trail, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())


@pytest.mark.parametrize("name", sorted(BORDERS))
def test_a_border_is_not_crossed_on_a_detour(name: str) -> None:
    reached: set[str] = set()
    waiting = [each for each in GRAPH if top(each) == name]
    while waiting:
        for each in GRAPH.get(waiting.pop(), ()):
            if each not in reached:
                reached.add(each)
                waiting.append(each)
    assert {each for each in reached if each.split(".")[0] in BORDERS[name]} == set()


def test_the_reader_of_imports_sees_every_form() -> None:
    """Plant each form of import; the tests above would be empty without it."""
    source = "import conformance.a\nfrom conformance import rule\ndef f():\n    from conformance.c.d import e\n"
    assert imported(source) == {"a", "rule", "c.d"}


def frameworks_after(code: str) -> set[str]:
    """Return the frameworks loaded in a fresh interpreter once `code` has run."""
    tail = f"\nimport sys; print('LOADED', *(each for each in {FRAMEWORKS!r} if each in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=False, cwd=PACKAGE.parent
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert lines, done.stdout + done.stderr
    return set(lines[-1].split()[1:])


EVERY_MODULE = """
import pkgutil, importlib, conformance
for each in pkgutil.walk_packages(conformance.__path__, "conformance."):
    if not each.name.endswith(("child", "__main__")):
        importlib.import_module(each.name)
"""
COLLECTING = "import pytest; pytest.main(['--collect-only', '-q', 'tests/test_dense.py'])"
COMMANDS = """
from click.testing import CliRunner
from conformance.cli import main
for command in (["lint"], ["list", "implementations"], ["explain", "--input-shape", "784", "--units", "4"]):
    assert CliRunner().invoke(main, command).exit_code == 0, command
"""


@pytest.mark.parametrize(
    "code",
    [EVERY_MODULE, COLLECTING, COMMANDS],
    ids=["importing every module", "collecting", "lint, list and explain"],
)
def test_no_framework_is_imported(code: str) -> None:
    assert frameworks_after(code) == set()


def test_the_alarm_rings_when_a_framework_is_imported() -> None:
    assert frameworks_after("import sys, types; sys.modules['torch'] = types.ModuleType('torch')") == {"torch"}
