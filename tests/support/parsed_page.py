"""The page as a tree of elements, and the cells that its script gets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs

#: Views that the page's script makes, so that the file itself has no element of theirs.
SCRIPTED = {"matrix", "case", "cell", "rule"}


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
class MatrixCell:
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
    def cells(self) -> list[MatrixCell]:
        """Every cell as the page's script gets it, its detail put into words."""
        data = self.data
        cases = [case for case in data["cases"] for _ in range(case[4])]
        assert len(cases) == len(data["column"]) == len(data["kind"]) == len(data["margin"]) == len(data["signature"])
        return [
            MatrixCell(
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
            "summary": self._strings(summary),
            "checks": [
                {
                    "check": self._strings(check),
                    "outcome": self.data["kinds"][kind][0],
                    "message": self._strings(message),
                    "found": dict(self._strings(numbers)),
                    "facts": self._strings(facts),
                    "entry": known,
                }
                for check, kind, message, numbers, facts, known in checks
            ],
            "ended": None if ended is None else self._strings(ended),
            "steps": dict(self._strings(steps)),
            "reproduce": self._strings(reproduce),
            "others": dict(self._strings(others)),
            "entry": entry,
        }

    def _strings(self, numbers: Any) -> Any:
        return [self._strings(each) for each in numbers] if isinstance(numbers, list) else self.data["strings"][numbers]

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


def marks_of_records(cells: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, str, str]]:
    return Counter((each["case"], f"{each['implementation']}/{each['device']}", each["outcome"]) for each in cells)
