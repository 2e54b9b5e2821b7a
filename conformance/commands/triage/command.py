"""
The command `conformance triage`: drafts of ledger entries for new failures, and which entries to narrow or remove.

A draft has the observed facts; a person fills in `why` and `link`, and checks `when`. The loader refuses a blank `why`,
so a draft is not an entry yet. A cell that timed out gets no draft: the registry declares limits of time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from conformance.commands.triage.common_fields import Facts, distinction, facts
from conformance.results import FAILING, CellRecord, CheckRecord, ResultsError, Run, read
from conformance.results.behaviours import BehaviourCounts, Counts, gone_entries, near_text
from conformance.results.record import QuestionRecord, RaisedRecord
from conformance.run.errors import CommandFault
from conformance.table.core_schema import dump
from conformance.text import printable

#: Implementation -> distribution -> version.
Versions = Mapping[str, Mapping[str, object]]
#: What identifies a kind of finding.
Key = tuple[object, ...]
NOTHING: Final = "# nothing to triage: no cell violates or crashed, and no known behaviour is gone\n"
#: Cells that a comment names.
_NAMED: Final = 3
#: The longest part of a message in a comment or a draft (characters).
_LONGEST: Final = 160
#: Numbers in a message, alone or in a list; they differ from row to row.
_NUMBERS: Final = re.compile(r"[-+]?\d[\d.,]*(?:[, ()\[\]x]+\d[\d.,]*)*")
_SIGNALS: Final = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
#: Step of a crash -> call. A person fills in the call of any other step.
_CALLS: Final = {"build": "build", "infer": "infer", "parameters": "parameters", "output": "forward"}
_GRADIENTS: Final = "gradients"
#: Check that compares values with the reference -> call.
_CALL_OF_VALUES: Final = {"output": "forward", _GRADIENTS: "gradient"}
#: The version that every process reports, whatever its framework.
_PYTHON: Final = "python"

_VALUES: Final = (
    "Wrong values. `instead` can say: casts, computes_in, products_in, sums_in, functions_in, rounds_each_product,",
    "rounds_toward_zero, loses_bias, clips_infinities, constants, formula, error, undefined; see cases/README.md.",
)
_SHAPE: Final = ("Another shape. `instead` can say: shape, infers; see cases/README.md.",)
_ACCEPTED: Final = ("Accepted, though it must be refused. `instead` can say: accepts; see cases/README.md.",)
_OTHER: Final = ("No field of `instead` follows from the finding; see cases/README.md.",)


@dataclass
class _Draft:
    """The draft of one entry: `instead` for a kind of finding, and the cells that have it."""

    kind: str
    instead: dict[str, object]
    call: str | None = None
    comments: tuple[str, ...] = ()
    #: The message of the first cell.
    message: str = ""
    cells: list[CellRecord] = field(default_factory=list)
    near: set[str] = field(default_factory=set)


def drafts(run: Run) -> str:
    """Return YAML: a draft for each kind of finding of failing cells, and comments on behaviours that are gone."""
    by_kind: dict[Key, _Draft] = {}
    counts = BehaviourCounts()
    for cell in run.cells:
        counts.add(cell)
        if cell.outcome in FAILING:
            for key, draft in _findings(cell):
                first = by_kind.setdefault(key, draft)
                first.cells.append(cell)
                first.near |= draft.near
    if not by_kind and not counts.gone_behaviours:
        return NOTHING
    versions = {each.implementation: each.versions or {} for each in run.implementations}
    parts = [*_gone_comments(run, counts, versions)]
    if by_kind:
        parts.append("divergences:\n")
        names: set[str] = set()
        parts += [_entry(draft, run, versions, names) for draft in by_kind.values()]
    return "".join(parts)


def _findings(cell: CellRecord) -> Iterator[tuple[Key, _Draft]]:
    """Yield the key and the draft of each kind of finding of a failing cell."""
    crash = cell.crash
    if crash is not None and cell.outcome != "violates":
        signals = [each for each in _SIGNALS if each in crash.reason]
        if cell.outcome == "crashed" and signals:
            call = "gradient" if crash.step == _GRADIENTS else _CALLS.get(str(crash.step))
            message = f"{crash.step}: {crash.reason}"
            yield (
                ("crash", signals[0], call),
                _Draft(kind=f"ends-by-{signals[0]}", instead={"crashes": signals[:1]}, call=call, message=message),
            )
        return
    checks = [each for each in cell.checks if each.outcome == "violates"]
    are_wrong = any(_has_wrong_values(each) and each.check in _CALL_OF_VALUES for each in checks)
    for check in checks:
        if are_wrong and _has_wrong_values(check) and check.check not in _CALL_OF_VALUES:
            continue  # wrong outputs or gradients also fail the checks that compare them with others
        key, draft = _finding(check, checks, cell)
        draft.message = draft.message or (check.message or check.check)
        draft.near = {near_text(check)} - {""}
        yield (cell.implementation if key[0] != "raised" else "", *key), draft


def _has_wrong_values(check: CheckRecord) -> bool:
    """Return whether a check found wrong values."""
    return check.margin is not None and check.raised is None


def _finding(check: CheckRecord, checks: Sequence[CheckRecord], cell: CellRecord) -> tuple[Key, _Draft]:
    """Return the key and the draft of one check that violates."""
    raised = check.raised
    if raised is not None:
        return _exception_draft(raised, [each.check for each in checks if each.raised == raised])
    if (dtypes := _dtypes(check, cell)) is not None:
        return ("dtypes", *dtypes.items()), _Draft(kind="dtype", instead={"dtypes": dtypes})
    name = check.check
    if name == "refusal":
        units = (cell.question or QuestionRecord()).units or ()
        if any(isinstance(each, bool | float) for each in units):
            return ("accepts",), _Draft(kind="accepts", instead={"accepts": "int_units"}, call="forward")
        return ("accepts",), _Draft(kind="accepts", instead={}, call="forward", comments=_ACCEPTED)
    if _has_wrong_values(check):
        call = _CALL_OF_VALUES.get(name)
        return ("values", name), _Draft(kind=f"{name}-values", instead={}, call=call, comments=_VALUES)
    if name == "output_shape":
        return ("shape",), _Draft(kind="shape", instead={}, comments=_SHAPE)
    return ("other", name), _Draft(kind=name, instead={}, comments=_OTHER)


def _exception_draft(raised: RaisedRecord, checks: Sequence[str]) -> tuple[Key, _Draft]:
    """Return the key and the draft of an exception; `checks` are those without evidence because of it."""
    stage, type_name = raised.stage or "call", raised.type
    call = stage if stage != "call" else "gradient" if checks[0] == _GRADIENTS else "forward"
    parts = _message_parts(raised.message)
    message = f"{raised.step or stage} raised {type_name}: {raised.message}"
    refuses = {"type": type_name, "message": parts}
    draft = _Draft(kind=f"raises-{type_name}", instead={"refuses": refuses}, call=call, message=message)
    return ("raised", call, type_name, *parts), draft


def _message_parts(message: str) -> list[str]:
    """Return the parts of the first line of a message between its numbers."""
    first = message.strip().split("\n", 1)[0][:_LONGEST]
    parts = [each.strip() for each in _NUMBERS.split(first)]
    return [each for each in parts if sum(map(str.isalpha, each)) > 2] or [first]


def _dtypes(check: CheckRecord, cell: CellRecord) -> dict[str, str] | None:
    """Return the unexpected dtypes that a check found, by result; None if it found none."""
    name, observed = check.check, check.observed
    if name == "output_dtype" and isinstance(observed, str):
        return {"output": observed}
    if name == "parameters":
        listed = () if check.facts is None else check.facts.parameters
        dtypes = {str(each.get("dtype")) for each in listed}
        return {"parameters": dtypes.pop()} if len(dtypes) == 1 and cell.dtype not in dtypes else None
    if isinstance(observed, Mapping) and {*observed} <= {"dx", "dW", "db"} and observed:
        return {"dx" if each == "dx" else "weights": str(dtype) for each, dtype in observed.items()}
    return None


def _entry(draft: _Draft, run: Run, versions: Versions, names: set[str]) -> str:
    """Return a draft as an item of YAML with comments."""
    implementations = list(dict.fromkeys(each.implementation for each in draft.cells))
    draft_cells = {each.name for each in draft.cells}
    others = (
        each
        for each in run.cells
        if each.implementation in implementations
        and each.name not in draft_cells
        and each.outcome in ("conforms", "diverges", *FAILING)
    )
    when = {**({"call": draft.call} if draft.call else {}), **distinction(_facts_of(draft.cells), _facts_of(others))}
    entry = {
        "id": _name(implementations, draft.kind, names),
        "implementations": implementations,
        "when": when,
        "instead": draft.instead,
        "kind": "bug",
        "why": "",
        "link": "",
        "seen_with": {
            name: version for name, version in versions.get(implementations[0], {}).items() if name != _PYTHON
        },
    }
    comments = [f"{_cells(len(draft.cells))}: {_cell_names(draft.cells)}", draft.message, *draft.comments]
    comments += sorted(draft.near)
    lines = _yaml([entry]).splitlines(keepends=True)
    return "".join([*(f"  # {_short(each)}\n" for each in comments), *(f"  {line}" for line in lines)])


def _facts_of(cells: Iterable[CellRecord]) -> list[Facts]:
    """Return the distinct facts of cells that have their question."""
    distinct = {}
    for cell in cells:
        if cell.question is not None:
            of_cell = facts(cell.question)
            distinct[frozenset(of_cell.items())] = of_cell
    return list(distinct.values())


def _gone_comments(run: Run, counts: BehaviourCounts, versions: Versions) -> Iterator[str]:
    """Yield comments on behaviours that are gone: whether to narrow or to remove their entries."""
    if not counts.gone_behaviours:
        return
    yield "# Known behaviours that are gone. Narrow or remove their entries:\n"
    for name, gone in counts.gone_behaviours.items():
        where = f"{name} ({gone.where})"
        yield f"# - {_short(where)}: gone from {_cells(gone.gone)} of {_short(', '.join(sorted(gone.gone_from)))}\n"
        for line in _advice(name, gone, run, versions):
            yield f"#   {_short(line)}\n"


def _advice(name: str, gone: Counts, run: Run, versions: Versions) -> Iterator[str]:
    """Yield what to do with the entry of a behaviour that is gone."""
    declared = (gone.entry and gone.entry.seen_with) or {}
    changed = {
        package: f"<{version}"
        for implementation in gone.gone_from
        for package, version in versions.get(implementation, {}).items()
        if declared.get(package) not in (None, version)
    }
    if changed:
        seen_with = ", ".join(f"{package} {version}" for package, version in declared.items())
        narrower = _flow({"versions": dict(sorted(changed.items()))})
        yield f"seen with {seen_with}; if the new version fixes it, add to when: {narrower}"
    if not gone.needed:
        yield "no cell needs it any more: remove the entry" + (", or narrow it to the old versions" if changed else "")
        return
    without = [each for each in run.cells if any(entry.id == name for entry in gone_entries(each))]
    needing = [each for each in run.cells if name in each.behaviours]
    still = distinction(_facts_of(needing), _facts_of(without))
    yield f"{_cells(gone.needed)} still {'needs' if gone.needed == 1 else 'need'} it" + (
        f"; what these have in common: {_flow(still)}" if still else ""
    )


def _name(implementations: Sequence[str], kind: str, names: set[str]) -> str:
    """Return an id for a draft that no other draft has."""
    plain = re.sub(r"[^a-z0-9]+", "-", f"{implementations[0]}-{kind}".lower()).strip("-")
    name, number = plain, 2
    while name in names:
        name, number = f"{plain}-{number}", number + 1
    names.add(name)
    return name


def _cell_names(cells: Sequence[CellRecord]) -> str:
    return ", ".join(each.name for each in cells[:_NAMED]) + (" ..." if len(cells) > _NAMED else "")


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= 3 * _LONGEST else f"{line[: 3 * _LONGEST - 1]}…"


def _flow(content: Mapping[str, object]) -> str:
    return _yaml(dict(content), flow=True).strip()


def _yaml(content: object, *, flow: bool | None = None) -> str:
    """Return YAML of ASCII alone, so that marks for the direction of text are visible."""
    return dump(content, flow=flow, ascii_only=True)


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
def triage(results: Path) -> None:
    """Print a draft of a ledger entry for each kind of failure in RESULTS, with blank why and link."""
    try:
        click.echo(drafts(read(results)), nl=False)
    except ResultsError as error:
        raise CommandFault(str(error)) from None
