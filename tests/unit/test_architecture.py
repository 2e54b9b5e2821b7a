"""Imports go one way, as docs/architecture.md says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import conformance
from conformance.adapters.builtin import BUILT_IN

PACKAGE = Path(conformance.__file__).parent

#: The rooms, from the ground up. A module imports from its own room and from rooms of lower floors.
FLOORS = (
    {"stream", "text"},
    {"adapters"},
    {"table", "sandbox", "results"},
    {"reference", "report"},
    {"ledger"},
    {"checks"},
    {"run"},
    {"commands"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: Room -> the rooms that it may not import, though they are below. An expected value is computed without a
#: framework or its process; a page is drawn from a results file alone.
BORDERS = {
    "reference": {"adapters", "sandbox", "results"},
    "report": {"adapters", "sandbox", "table"},
    "ledger": {"report", "results"},
    "checks": {"report", "results"},
}


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the dotted name, below the package, and the file of every module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            yield name, path


def named(source: str) -> set[str]:
    """Return the modules that a source imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            # What is imported from a package may be a module of it.
            inner = {f"{node.module}.{each.name}" for each in node.names}
            names |= {each for each in inner if each in MODULES} or {node.module}
        elif isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
    return names


def imported(source: str) -> set[str]:
    """Return the modules of the package that a source imports."""
    return {each.removeprefix("conformance.") for each in named(source) if each.startswith("conformance.")}


def room_of(name: str) -> str:
    return name.partition(".")[0]


MODULES = {f"conformance.{name}" for name, _ in modules()}
GRAPH = {name: imported(path.read_text(encoding="utf-8")) for name, path in modules()}


def faults_of(graph: dict[str, set[str]]) -> list[str]:
    """Return the imports that no rule allows."""
    return [
        f"{name} imports {each}"
        for name in graph
        for each in graph[name]
        if (room_of(name), room_of(each)) != (room_of(each), room_of(name))
        and room_of(name) in FLOOR_OF
        and (
            FLOOR_OF.get(room_of(each), 0) >= FLOOR_OF[room_of(name)]
            or room_of(each) in BORDERS.get(room_of(name), set())
        )
    ]


def test_imports_between_rooms_go_one_way() -> None:
    assert faults_of(GRAPH) == []


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("table.loader", "checks.judgement"),
        ("sandbox.process", "table.case"),
        ("report.page", "table.rule"),
        ("text", "run"),
    ],
)
def test_an_import_that_goes_up_or_across_is_a_fault(name: str, imported: str) -> None:
    assert faults_of({**GRAPH, name: {imported}}) == [f"{name} imports {imported}"]


#: What is known of implementations without importing one.
REGISTRY = {"adapters.builtin", "adapters.implementation", "adapters.installation", "adapters.registry"}


#: What the adapters of a framework share, in the folder of that framework.
SHARED = {"arrays", "model"}


def faults_of_adapter(name: str, imports: set[str]) -> list[str]:
    """Return the imports of an adapter that are neither the protocol, of its own folder, nor shared."""
    own = ".".join(name.split(".")[:2]) + "."
    shared = {each for each in MODULES if each.count(".") == 3 and each.rpartition(".")[2] in SHARED}
    allowed = {"adapters.protocol", *(each.removeprefix("conformance.") for each in shared)}
    return [each for each in sorted(imports) if not each.startswith(own) and each not in allowed]


@pytest.mark.parametrize("name", sorted({each for each in GRAPH if each.startswith("adapters.")} - REGISTRY))
def test_an_adapter_imports_the_protocol_its_own_folder_and_what_others_share(name: str) -> None:
    assert faults_of_adapter(name, GRAPH[name]) == []


def test_an_adapter_that_imports_another_adapter_is_a_fault() -> None:
    wrong = {"adapters.torch.linear", "adapters.litert", "adapters.registry", "stream", "reference.answer"}
    right = {"adapters.protocol", "adapters.torch.arrays", "adapters.torch.model", "adapters.keras.layers"}
    assert faults_of_adapter("adapters.keras.keras3", wrong | right) == sorted(wrong)


def test_no_adapter_is_in_a_module_that_others_share() -> None:
    homes = {each.adapter.partition(":")[0].rpartition(".")[2] for each in BUILT_IN}
    assert not homes & SHARED


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


def test_the_reader_of_imports_sees_every_form() -> None:
    """Plant each form of import; the tests above would be empty without it."""
    source = "import conformance.a\nfrom conformance import stream\ndef f():\n    from conformance.c.d import e\n"
    assert imported(source) == {"a", "stream", "c.d"}


def test_no_test_imports_a_benchmark() -> None:
    """Nor a benchmark a test: what both need is in the package or in `tools/`."""
    for folder, other in (("tests", "benchmarks"), ("benchmarks", "tests")):
        for path in (PACKAGE.parent / folder).rglob("*.py"):
            assert other not in {each.partition(".")[0] for each in named(path.read_text(encoding="utf-8"))}, path
