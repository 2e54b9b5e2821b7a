"""
The types of the lines of a results file, and of their parts.

A line is one JSON object: a `HeaderRecord`, an `ImplementationRecord`, a `CellRecord` or a `FooterRecord`, named by
its field `type`. Everything after judging works on these types. A file may have fields that no type names: reading
puts them into `rest`, and `plain` writes them again.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

SCHEMA: Final = 1
#: Outcomes of a cell, worst first. The outcome of a cell is its worst check's.
OUTCOMES: Final = ("crashed", "timed_out", "violates", "diverges", "conforms", "unsupported", "not_run")

Outcome = Literal["crashed", "timed_out", "violates", "diverges", "conforms", "unsupported", "not_run"]
#: A number, or the string that stands for one that is not finite; `float` takes both.
Number = float | Literal["inf", "-inf", "nan"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
#: A length or an index. It may be negative in a row that must be refused.
Length = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
_FEW: Final = msgspec.Meta(max_length=64)
Axes = Annotated[list[Length], _FEW]
Shard = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,5}/[1-9][0-9]{0,5}\Z")]
T = TypeVar("T")
#: Plain data that JSON can represent.
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


class CellName(NamedTuple):
    """The name of a cell, in three parts. It is a tuple of texts, so that processes can exchange it."""

    device: str
    implementation: str
    case: str

    def __str__(self) -> str:
        return f"{self.device}/{self.without_device}"

    @property
    def without_device(self) -> str:
        """`IMPLEMENTATION/CASE`, which is enough where a run has one device."""
        return f"{self.implementation}/{self.case}"


class Rest(dict[str, Json]):
    """Fields of a record that its type does not name, as plain data."""


_NO_REST: Final = Rest()


def _always_written(default: T) -> T:
    """Return the default of a field that is always written; other fields are left out where they have their default."""
    field: T = msgspec.field(default_factory=lambda: default)
    return field


class Part(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A record, or a part of one."""

    #: The fields of a file that the type does not name. A field of a file that is itself called `rest` is one of them.
    rest: Rest = _NO_REST


class SelectionRecord(Part, frozen=True):
    """The options that selected the cells of a run."""

    cases: list[str] = []
    implementations: list[str] = []
    device: str | None = None
    tier: str | None = None
    random: dict[str, object] | None = None
    shard: Shard | None = None
    draws: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = _always_written(1)
    cpu_isa: str | None = _always_written(None)
    ledger: bool | None = None
    limits: dict[str, object] | None = None


class ShardRecord(Part, frozen=True):
    """What the header and footer of one shard of a merged file say about that shard alone."""

    shard: str = ""
    #: ISO 8601.
    started: str = ""
    platform: dict[str, object] | None = None
    cells: Count | None = None
    workers: dict[str, object] | None = None
    machines: list[dict[str, object]] | None = None
    seconds: Seconds | None = _always_written(None)


class HeaderRecord(Part, frozen=True, tag_field="type", tag="header"):
    """The first line. Its `schema` is checked first: this version reads no other schema."""

    schema: int = _always_written(SCHEMA)
    #: ISO 8601.
    started: str = ""
    #: Distribution -> version.
    distributions: dict[str, object] = {}
    platform: dict[str, object] = {}
    #: The number of workers on this machine, and what set it.
    workers: dict[str, object] | None = None
    #: The other machines on which cells ran.
    machines: list[dict[str, object]] | None = None
    selection: SelectionRecord = msgspec.field(default_factory=SelectionRecord)
    #: Cells that were planned.
    cells: Count = _always_written(0)
    #: The shards of a merged file.
    shards: list[ShardRecord] = []
    #: Whether the evidence of the cells was removed, as it is from old nights.
    thinned: bool = False


class ImplementationRecord(Part, frozen=True, tag_field="type", tag="implementation"):
    """What a process reports about itself and its framework."""

    implementation: str
    versions: dict[str, object] | None = None
    settings: dict[str, object] = _always_written({})
    devices: list[str] = _always_written([])
    threads: int | None = None
    #: The other machine on which it ran, if any.
    host: str | None = None


class ModelRecord(Part, frozen=True):
    """The model of a case. An old night may have the dtype alone."""

    #: An axis that must be refused may be None.
    input_shape: Annotated[list[Length | None], _FEW] | None = None
    units: Annotated[list[bool | Length | float | str | None], _FEW] | None = None
    activation: Annotated[list[str], _FEW] | None = None
    use_bias: Annotated[list[bool], _FEW] | None = None
    dtype: str | None = None


class QuestionRecord(ModelRecord, frozen=True):
    """The canonical form of a case. `conformance.run.reproduce` makes a case from it."""

    #: None stands for a sample without a batch axis.
    batch: Axes | Length | msgspec.UnsetType | None = msgspec.UNSET
    #: None where the case must be refused.
    lane: str | msgspec.UnsetType | None = msgspec.UNSET
    layout: str = ""
    feed_shape: Axes | msgspec.UnsetType | None = msgspec.UNSET
    error: bool | None = None
    input_dtype: str | None = None
    environment: dict[str, str] | None = None
    #: Literal values by array.
    data: dict[str, object] | None = None

    @property
    def leading_axes(self) -> list[int]:
        """The leading axes of an input; none where there is no batch axis."""
        if isinstance(self.batch, list):
            return self.batch
        return [self.batch] if isinstance(self.batch, int) else []


class EntryRecord(Part, frozen=True):
    """An entry of the ledger, as a cell names it."""

    id: str = ""
    #: Its place, as `file:line`.
    where: str = ""
    kind: str = ""
    why: str = ""
    link: str | None = None
    evidence: str | None = None
    #: Distribution -> version.
    seen_with: dict[str, str] | None = None
    #: The ids of all behaviours that explain a check, where there are several.
    behaviours: list[str] = []

    @property
    def name(self) -> str:
        """What identifies the entry: its place, else its reason."""
        return self.where or self.why or "(no entry)"


class RaisedRecord(Part, frozen=True, kw_only=True):
    """An exception of a framework."""

    stage: str = ""
    step: str = ""
    type: str
    message: str
    #: The module that raised it.
    module: str = ""


class CrashRecord(Part, frozen=True, kw_only=True):
    """How a process ended."""

    step: str | None = None
    reason: str
    #: The end of what the process printed.
    stderr: str = _always_written("")
    notes: list[str] = _always_written([])
    #: The cells that crash the process together, where one alone does not.
    culprit: list[str] | None = None


class ValueFactsRecord(Part, frozen=True):
    """What a check of values measured."""

    #: Whether the ledger declares the values undefined.
    undefined: bool | None = None
    #: Elements that a declared behaviour gives no bound.
    unbounded: Count | None = None
    #: Root mean square of the error, and what is allowed.
    rms: Number | None = None
    rms_allowed: Number | None = None
    #: Operation -> way of rounding it -> outputs that this way explains; and all outputs that distinguish the ways.
    conduct: dict[str, dict[str, Count]] = {}
    #: Output or gradient -> its largest margin.
    margins: dict[str, Number] | None = None
    #: A digest of the output.
    bits: str | None = None


class FactsRecord(ValueFactsRecord, frozen=True):
    """What a check measured."""

    #: How many calls were compared.
    calls: Count | None = None
    #: Whether answers are the same bit for bit.
    bitwise: bool | None = None
    #: Shapes of the arrays that were compared.
    arrays: list[object] | None = None
    parameters: list[dict[str, object]] = []
    positions: Count | None = None
    #: Step -> the strides of the array that the framework was handed.
    strides: dict[str, object] | None = None
    #: Whether the check could be made.
    asked: bool | None = None


class JudgementRecord(Part, frozen=True):
    """The outcome of a check, and the worst element that it compared."""

    check: str
    outcome: Outcome
    message: str = ""
    expected: object = None
    observed: object = None
    #: The largest error over what is allowed.
    margin: Number | None = None
    #: The answer that has the worst element.
    where: str | None = None
    #: The index of the worst element, its value, the exact value, and the error allowed.
    worst: list[int] | None = None
    got: Number | None = None
    exact: Number | None = None
    allowed: Number | None = None
    #: The class of the bound.
    line: str | None = None


class CheckRecord(JudgementRecord, frozen=True):
    """One check of a cell."""

    #: The label of the step that a violation is about, or one gradient of it; `layer` is the index of its layer.
    #: Older results files have none of the three.
    step: str | None = None
    gradient: Literal["dx", "dW", "db"] | None = None
    layer: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    raised: RaisedRecord | None = None
    #: Whether the process ended before the step that the check needs.
    unreached: bool = False
    facts: FactsRecord | None = None
    #: Entries that cover the cell of a check that violates, and do not explain it.
    near: list[EntryRecord] = []
    #: What fails with the entries of `near` applied, if it is something else.
    under: str = ""
    #: The entry that explains a check that diverges.
    divergence: EntryRecord | None = None
    reason: str = ""


class VerdictRecord(Part, frozen=True):
    """The verdict on one cell."""

    case: str
    implementation: str
    device: str
    outcome: Outcome
    checks: list[CheckRecord]
    reason: str = ""
    #: The entry that explains how the process ended.
    divergence: EntryRecord | None = None
    #: Behaviours that cover a step of the cell.
    covered: list[str] = []
    #: Behaviours without which the cell would fail.
    behaviours: list[str] = []
    #: Behaviours that the cell shows to be gone.
    gone: list[EntryRecord] = []
    #: Step -> the width of its bounds under behaviours.
    widths: dict[str, Number] = {}
    #: Whether all those bounds are as wide as the answer.
    powerless: bool = False


class CellRecord(VerdictRecord, frozen=True, tag_field="type", tag="cell"):
    """The result of one cell."""

    crash: CrashRecord | None = None
    #: Step -> how long it took (seconds).
    steps: dict[str, Seconds] | None = None
    #: A script that shows the failure; a long one is left out.
    reproduce: str = ""
    seconds: Seconds = _always_written(0.0)
    #: How long the cell waited for its process (seconds), where it was the first that needed it.
    start: Seconds | None = None
    #: The row of the table, as `file:line`.
    row: str = ""
    question: QuestionRecord | None = None
    why: str = ""
    source: str | None = None
    #: The other machine on which it ran, if any.
    host: str | None = None

    @property
    def process(self) -> str:
        """`DEVICE/IMPLEMENTATION`."""
        return f"{self.device}/{self.implementation}"

    @property
    def cell(self) -> CellName:
        """The name of the cell in its parts."""
        return CellName(self.device, self.implementation, self.case)

    @property
    def name(self) -> str:
        """`DEVICE/IMPLEMENTATION/CASE`, as in a test's id."""
        return str(self.cell)

    @property
    def dtype(self) -> str:
        """The dtype of the question; empty where the record has none."""
        return "" if self.question is None else self.question.dtype or ""


class MeasurementRecord(Part, frozen=True):
    """One fact of the arithmetic of an implementation, with its evidence."""

    implementation: str
    device: str
    dtype: str
    about: str
    finding: str
    evidence: str


class FooterRecord(Part, frozen=True, tag_field="type", tag="footer"):
    """The last line; without one the run was broken off."""

    counts: dict[str, Count] = _always_written({})
    #: Whether every planned cell has an outcome.
    complete: bool = _always_written(False)
    #: Wall time of the run.
    seconds: Seconds = _always_written(0.0)
    #: Behaviour -> how many cells it covers (`cells`), need it (`seen`) and lack it (`gone`).
    behaviours: dict[str, dict[str, Count]] | None = None
    measured: list[MeasurementRecord] | None = None


Record = HeaderRecord | ImplementationRecord | CellRecord | FooterRecord
