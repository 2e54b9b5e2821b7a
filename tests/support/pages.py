"""Results files made as a run makes them, and pages read back as a browser reads them, for the tests of the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from conformance.results import OUTCOMES, Run, read
from conformance.results.behaviours import BehaviourCounts
from conformance.results.diff.comparison import Change, Diff
from conformance.results.history.queries import Summary, Trend, Worsened
from conformance.results.history.store import Night
from tests.support.records import cell_record, written

SHAPE = {"check": "output_shape", "outcome": "conforms", "expected": [[None, 4]], "observed": [[None, 4]]}
OUTPUT = {"check": "output", "outcome": "conforms", "margin": 0.43, "line": "proven"}
ENTRY = {
    "id": "refuses-rank-1",
    "where": "cases/divergences/keras.yaml:12",
    "why": "rank 1 is refused",
    "link": "https://a.test/1",
    "kind": "by_design",
}
#: What a cell says of a behaviour that is gone.
GONE = {**ENTRY, "id": "adds-in-float16", "where": "cases/divergences/jax.yaml:5", "why": "sums are float16"}
#: Views that the page's script makes, so that the file itself has no element of theirs.
SCRIPTED = {"matrix", "case", "cell", "rule"}
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


#: What changed since an earlier run, and which that was.
CHANGES: Final = Diff(
    sections={
        "worse": (
            Change(
                device="cpu",
                implementation="impl-0",
                case="784x2-4-uniform",
                before="conforms",
                after="violates",
                said="off by 0.25",
            ),
        ),
        "drifted": (
            Change(
                device="cpu",
                implementation="gone",
                case="x",
                before="conforms",
                after="conforms",
                margins=(0.125, 0.375),
            ),
        ),
    },
    versions=(("torch", "torch", "2.12.0", "2.13.0"),),
)
SINCE: Final = "2026-01-01T03:04:05Z"
HISTORY: Final = Summary(
    nights=[
        Night(
            started=f"2026-01-{day:02d}T03:00:00Z",
            file=f"{day}.jsonl",
            complete=True,
            counts={"conforms": 40 + day, "violates": day % 2},
            versions={"torch": "2.12.0" if day < 3 else "2.13.0"},
            margins=(),
            unread=0,
        )
        for day in range(1, 6)
    ],
    margins=[
        Trend(
            implementation=name,
            dtype="float32",
            medians=[0.25, None, 0.26, 0.27, 0.28],
            maxima=[0.5, 0.5, 0.75, 0.8, 0.8125],
        )
        for name in ("torch", "flax-nnx")
    ],
    worsened=[
        Worsened(
            case="784x2-4-uniform",
            implementation="impl-0",
            device="cpu",
            before="conforms",
            now="violates",
            check="output",
            said="off by 0.25",
            since="2026-01-03T03:00:00Z",
            versions_before={"torch": "2.12.0"},
            versions_since={"torch": "2.13.0"},
            versions_now={"torch": "2.13.0"},
        )
    ],
)


@dataclass
class Maker:
    """Writes results files as a run does, and reads them back."""

    folder: Path

    def __call__(
        self, cells: Sequence[Mapping[str, Any]], name: str = "results", /, complete: bool | None = True, **header: Any
    ) -> Run:
        behaviours = BehaviourCounts()
        for each in cells:
            behaviours.add(cell_record(each))
        said = {"versions": {"torch": "2.13.0"}, "settings": {"allow_tf32": False}, "devices": ["cpu"], "threads": 1}
        names = dict.fromkeys(str(each["implementation"]) for each in cells)
        path = written(
            self.folder / f"{name}.jsonl",
            cells,
            header={**HEADER, **header},
            implementations=[{"implementation": each, **said} for each in names],
            complete=complete,
            behaviours=behaviours.facts(),
            measured=MEASURED,
        )
        return read(path, strict=False)


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


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A cell of the matrix; `detail` is None where the page leaves it out."""

    case: str
    column: str
    outcome: str
    margin: float | str | None
    detail: dict[str, Any] | None


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

    @cached_property
    def data(self) -> dict[str, Any]:
        """What the page's script is given."""
        (script,) = self.root.all("script", id="data")
        found = json.loads(script.text)
        assert isinstance(found, dict)
        return found

    @cached_property
    def cells(self) -> list[Shown]:
        """Every cell as the page's script gets it, its detail put into words."""
        data = self.data
        cases = [case for case in data["cases"] for _ in range(case[4])]
        assert len(cases) == len(data["column"]) == len(data["kind"]) == len(data["margin"]) == len(data["signature"])
        return [
            Shown(
                case=case[0],
                column=data["columns"][data["column"][index]][0],
                outcome=data["kinds"][data["letters"].index(data["kind"][index])][0],
                margin=data["margin"][index],
                detail=self._detail(index),
            )
            for index, case in enumerate(cases)
        ]

    def _detail(self, index: int) -> dict[str, Any] | None:
        """Return a cell's detail: its numbers of strings as the strings."""
        if (found := self.data["details"].get(str(index))) is None:
            return None
        summary, checks, ended, steps, reproduce, others, entry = found
        return {
            "summary": self._said(summary),
            "checks": [
                {
                    "check": self._said(check),
                    "outcome": self.data["kinds"][kind][0],
                    "message": self._said(message),
                    "found": dict(self._said(numbers)),
                    "facts": self._said(facts),
                    "entry": known,
                }
                for check, kind, message, numbers, facts, known in checks
            ],
            "ended": None if ended is None else self._said(ended),
            "steps": dict(self._said(steps)),
            "reproduce": self._said(reproduce),
            "others": dict(self._said(others)),
            "entry": entry,
        }

    def _said(self, numbers: Any) -> Any:
        return [self._said(each) for each in numbers] if isinstance(numbers, list) else self.data["strings"][numbers]

    def leads(self, address: str) -> bool:
        """Return whether an address on this page names a view and, of its parameters, things that the page has."""
        view, _, query = address.removeprefix("#/").partition("?")
        state = {key: value for key, (value,) in parse_qs(query, strict_parsing=bool(query)).items()}
        ids = {each.attributes.get("id") for each in self.root.walk()}
        known = {
            "case": {case[1] or case[0] for case in self.data["cases"]},
            "column": {column[5] for column in self.data["columns"]},
            "entry": {entry[0] for entry in self.data["entries"]},
            "at": ids,
            "outcome": {kind[0] for kind in self.data["kinds"]},
        }
        keys = [key for key in known if key in state]
        return address.startswith("#/") and view in ids | SCRIPTED and all(state[key] in known[key] for key in keys)

    @property
    def marks(self) -> list[tuple[str, str, str]]:
        """Case, column and outcome of every cell in the matrix."""
        return [(each.case, each.column, each.outcome) for each in self.cells]

    @property
    def headline(self) -> str:
        return self.root.all("h1")[0].text

    @property
    def warnings(self) -> list[str]:
        return [item.text for box in self.root.all("ul", **{"class": "warnings"}) for item in box.all("li")]


def tell(cells: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, str, str]]:
    return Counter((each["case"], f"{each['implementation']}/{each['device']}", each["outcome"]) for each in cells)
