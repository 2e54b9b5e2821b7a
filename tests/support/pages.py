"""Results files for the tests of the report: cells, changes, nights, and their maker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from conformance.results import OUTCOMES, Run, read
from conformance.results.behaviours import BehaviourCounts
from conformance.results.diff.comparison import Change, Diff
from conformance.results.history.queries import Summary, Trend, WorseCell
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
#: The script of a red cell.
SCRIPT = "import numpy as np\nprint(np.zeros(3) < 1)\n"
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
        "evidence": "of 12 outputs that distinguish the ways: 12 rounded once, 0 rounded twice",
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
                reason="off by 0.25",
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
        WorseCell(
            case="784x2-4-uniform",
            implementation="impl-0",
            device="cpu",
            before="conforms",
            now="violates",
            check="output",
            reason="off by 0.25",
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
