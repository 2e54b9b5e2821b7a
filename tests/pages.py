"""Results files made as a run makes them, and pages read back as a browser reads them, for the tests of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

from conformance.results import OUTCOMES, Run, Writer, read

SHAPE = {"check": "output_shape", "outcome": "conforms", "expected": [[None, 4]], "observed": [[None, 4]]}
OUTPUT = {"check": "output", "outcome": "conforms", "margin": 0.43, "line": "proven"}
ENTRY = {
    "where": "cases/divergences.yaml:12",
    "why": "rank 1 is refused",
    "link": "https://a.test/1",
    "kind": "refuses",
}
#: The rest of a cell's record, by outcome.
EVIDENCE: Mapping[str, Mapping[str, Any]] = {
    "conforms": {"checks": [SHAPE, OUTPUT, {"check": "gradients", "outcome": "unsupported", "message": "no tape"}]},
    "diverges": {
        "checks": [
            {
                "check": "output",
                "outcome": "diverges",
                "expected": "accepted",
                "observed": "refused",
                "raised": {"step": "call", "type": "ValueError", "message": "min_ndim=2", "module": "keras.src"},
                "divergence": ENTRY,
            }
        ]
    },
    "violates": {
        "checks": [
            SHAPE,
            {
                "check": "output",
                "outcome": "violates",
                "margin": 17.5,
                "worst": [1, 17, 3],
                "got": 0.75,
                "exact": 0.5,
                "allowed": 0.0142857,
                "line": "declared",
                "message": "off by 0.25",
                "facts": {"beyond": 412},
                "later": "a key of a later version",
            },
        ]
    },
    "crashed": {
        "reason": "signal 6",
        "crash": {"step": "forward", "reason": "SIGABRT", "stderr": "Check failed\nAborted", "notes": ["again alone"]},
        "checks": [SHAPE],
    },
    "timed_out": {"reason": "no answer within 60 s", "crash": {"step": "gradients", "reason": "no answer within 60 s"}},
    "unsupported": {"reason": "has no rank 0", "checks": []},
    "not_run": {"reason": "flax is not installed", "checks": []},
}
HEADER: Mapping[str, Any] = {
    "started": "2026-01-02T03:04:05Z",
    "distributions": {"numpy": "2.3.5"},
    "platform": {"system": "Linux", "machine": "x86_64"},
    "selection": {"tier": "full"},
}


def cell(case: str, implementation: str, outcome: str, **more: Any) -> dict[str, Any]:
    row = {"row": "cases/seed.yaml:4", "question": {"input_shape": [784], "dtype": "float32"}, "seconds": 0.25}
    why = {"why": "the comma adds no axis", "source": "https://a.test/2"}
    evidence = EVIDENCE.get(outcome, {})
    names = {"case": case, "implementation": implementation, "device": "cpu", "outcome": outcome}
    return {**names, **row, **why, **evidence, **more}


def all_outcomes() -> list[dict[str, Any]]:
    """Seven cases by seven implementations, every outcome in every column."""
    return [
        cell(
            f"784x{case}-4-uniform",
            f"impl-{column}",
            OUTCOMES[(case + column) % 7],
            row=f"cases/f{case % 2}.yaml:{case}",
        )
        for case in range(7)
        for column in range(7)
    ]


#: Facts as a footer holds them.
MEASURED: Final = [
    {
        "implementation": "torch",
        "device": "cpu",
        "dtype": dtype,
        "about": "bias",
        "finding": "rounded once",
        "evidence": "of 12 outputs that tell: 12 rounded once, 0 rounded twice",
    }
    for dtype in ("bfloat16", "float32")
]


@dataclass
class Maker:
    """Writes results files as a run does, and reads them back."""

    folder: Path

    def __call__(
        self, cells: Sequence[Mapping[str, Any]], name: str = "results", /, complete: bool | None = True, **header: Any
    ) -> Run:
        path = self.folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            writer = Writer(stream)
            writer.header(**{"cells": len(cells), **HEADER, **header})
            settings = {"allow_tf32": False}
            for implementation in dict.fromkeys(str(each["implementation"]) for each in cells):
                versions = {"torch": "2.13.0"}
                writer.implementation(
                    implementation=implementation, versions=versions, settings=settings, devices=["cpu"], threads="1"
                )
            for each in cells:
                writer.cell(each)
            if complete is not None:
                writer.footer(complete=complete, seconds=1.5, measured=MEASURED)
        return read(path)


@dataclass
class Node:
    tag: str
    attributes: dict[str, str]
    parent: Node | None = None
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str, **wanted: str) -> list[Node]:
        return [each for each in self.walk() if each.tag == tag and wanted.items() <= each.attributes.items()]

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()


class Page(HTMLParser):
    """A page as a tree; what a browser would have to repair is an error."""

    VOID = ("meta", "input", "wbr")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = self.here = Node("#root", {})
        self.feed(page)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        node = Node(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(node)
        if tag not in self.VOID:
            self.here = node

    def handle_endtag(self, tag: str) -> None:
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.children.append(data)

    @property
    def counts(self) -> dict[str, int]:
        parts = [each for each in self.root.all("span") if "data-outcome" in each.attributes]
        return {each.attributes["data-outcome"]: int(each.all("b")[1].text.replace(",", "")) for each in parts}

    @property
    def total(self) -> int:
        (total,) = self.root.all("span", **{"class": "total"})
        return int(total.all("b")[0].text.replace(",", ""))

    @property
    def marks(self) -> list[tuple[str, str, str]]:
        """Case, column and outcome of every mark in the table."""
        (matrix,) = [each for each in self.root.all("table") if "cells" in each.attributes["class"].split()]
        columns = [each.text for each in matrix.all("thead")[0].all("th")][1:]
        found = []
        for row in matrix.all("tr"):
            if places := row.all("td"):
                assert len(places) == len(columns)
                case = row.all("th")[0].text
                for column, place in zip(columns, places, strict=True):
                    for mark in (each for each in place.children if isinstance(each, Node) and each.tag in ("a", "b")):
                        assert mark.attributes["title"]
                        assert mark.text.strip()
                        found.append((case, column, mark.attributes["class"].split()[0]))
        return found

    @property
    def headline(self) -> str:
        return self.root.all("h1")[0].text

    @property
    def warnings(self) -> list[str]:
        return [item.text for box in self.root.all("ul", **{"class": "warnings"}) for item in box.all("li")]


def tell(cells: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, str, str]]:
    return Counter((each["case"], f"{each['implementation']}/{each['device']}", each["outcome"]) for each in cells)
