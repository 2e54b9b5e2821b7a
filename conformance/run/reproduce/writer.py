"""
The script of one cell: which template, and what stands in it.

Every step of the question that leads to what failed becomes a few lines; the templates say how each framework's users
write them. Text of records and rows enters a script as comments of one line or as Python literals, never as code.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

import conformance
from conformance.adapters.registry import Implementation
from conformance.checks.question import Question
from conformance.results import CellRecord
from conformance.run.reproduce.arrays import Arrays
from conformance.run.reproduce.family import SHAPES_ALONE, check_words, family_of, function_of
from conformance.run.reproduce.row import row_of
from conformance.run.reproduce.step_lines import StepLines
from conformance.run.reproduce.symptom import NotShown, Symptom, needed, symptom
from conformance.run.reproduce.template_names import Layer, layers_of, names_of
from conformance.sandbox.steps import Build, Differentiate, Step
from conformance.table.case import INTEGER_DTYPES, Case

#: Symptoms that no weight plays a part in, and templates whose layers have initial weights of their own.
_OF_NO_VALUES: Final = ("dtype", "shape", "inferred", "parameters")
_HOLDING: Final = ("keras", "keras2", "torch", "flax_linen", "flax_nnx", "equinox", "haiku", "tensorflow_v1")
#: Import names that are not those of the distribution.
_DISTRIBUTIONS: Final = {"haiku": "dm-haiku"}
_FRAMEWORKS: Final = ("numpy", "torch", "jax", "tensorflow")


def script(
    record: CellRecord, asked: Question | None, *, case: Case, implementation: Implementation, check: str | None = None
) -> str:
    """
    Return the text of a standalone Python script that shows what the record of a cell says.

    `asked` is the question the cell was asked, None where it was never asked. `check` chooses one of several failing
    checks. Where no script of the framework alone can show it, the one returned runs the row.

    Raises:
        NotShown: nothing of the cell fails, or `check` does not.
    """
    shown = None
    try:
        if asked is not None:
            shown = symptom(record, asked, check)
            return _tidy(_render(record, asked, shown, case, implementation))
    except NotShown:
        if record.outcome in ("conforms", "unsupported", "not_run") or (check is not None and shown is None):
            raise
    context = {
        "title": _title(record, shown),
        "implementation": implementation.name,
        "device": record.device,
        "row": f"rows:\n  - {row_of(case)}\n",
        "expected": "an outcome other than conforms, and why",
    }
    text: str = _template("run").render(context)
    return text.rstrip() + "\n"


def _render(record: CellRecord, asked: Question, shown: Symptom, case: Case, implementation: Implementation) -> str:
    family = family_of(implementation)
    if family is None or implementation.mode in SHAPES_ALONE:
        raise NotShown(f"{implementation.name} has no template")
    steps = needed(asked, shown.steps)
    check_words(family, implementation, steps)
    arrays = Arrays(case.digest if case.data is None else None)
    first = next(each for each in steps if isinstance(each, Build)).stack
    layers = layers_of(first)
    weightless = shown.kind in _OF_NO_VALUES and family in _HOLDING and implementation.mode != "functional"
    step_lines = StepLines(layers, arrays, case, weightless=weightless)
    lines = step_lines.lines_of(steps)
    environment = _environment(record, implementation, case)
    packed = ["base64", "zlib"] if "packed" in arrays.helpers else []
    text: str = _template("script").render(
        title=_title(record, shown),
        modules=sorted([*packed, *(["os"] if environment else [])]),
        family=family,
        environment=environment,
        helpers=[each.rstrip() for each in arrays.helpers.values()],
        steps=lines,
        layers=layers,
        dtype=first.dtype,
        of_other_dtype=case.input_dtype is not None,
        floating=(case.input_dtype or case.dtype) not in INTEGER_DTYPES,
        given=lines[0].given,
        device=record.device,
        **_of_implementation(implementation, steps),
        **_of_symptom(shown, step_lines.answers, layers),
        **names_of(layers),
    )
    return text


def _of_implementation(implementation: Implementation, steps: Sequence[Step]) -> dict[str, object]:
    """Return what the template says of the framework and of how it is called."""
    library, function = function_of(implementation)
    differentiates = any(isinstance(each, Differentiate) for each in steps)
    strided = any(getattr(each, "layout", "contiguous") != "contiguous" for each in steps)
    is_compiled = implementation.mode in ("graph", "xla", "jit", "decorated")
    return {
        "versions": _versions(implementation, library),
        "mode": None if function else implementation.mode,
        "backend": implementation.environment.get("KERAS_BACKEND"),
        "uses_backend": differentiates or strided or is_compiled,
        "differentiates": differentiates,
        "library": library,
        "function": function,
    }


def _of_symptom(shown: Symptom, answers: Mapping[str, str], layers: Sequence[Layer]) -> dict[str, object]:
    """Return what the template says of what failed; `answers` are the names of outputs by step."""
    return {
        "symptom": shown,
        "expected": _one_line(shown.expected),
        "last": list(answers.values())[-1] if answers else "",
        "exact": _exact(shown, answers),
        "allowed": _literal(shown.allowed),
        "got": _sum(shown.got, answers) if shown.kind == "value" else "",
        "element": _element(shown),
        "gradient": _gradient(shown, layers),
    }


def _versions(implementation: Implementation, library: str) -> tuple[str, ...]:
    known = [_DISTRIBUTIONS.get(each, each) for each in implementation.packages]
    if function_of(implementation)[1] is not None:
        known = [each for each in implementation.packages if each in _FRAMEWORKS]
    return tuple(dict.fromkeys([*known, "numpy"]))


def _environment(record: CellRecord, implementation: Implementation, case: Case) -> dict[str, str]:
    """Return the variables to set before anything is imported: the implementation's, the row's, the device's."""
    found = {**implementation.environment, **dict(case.environment)}
    frameworks = {*implementation.packages, implementation.environment.get("KERAS_BACKEND")}
    if record.device == "cpu" and frameworks & {"jax", "tensorflow", "keras"}:
        found["CUDA_VISIBLE_DEVICES"] = "-1"
    if record.device == "gpu" and "jax" in frameworks:
        found["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
    if record.device == "gpu" and "tensorflow" in frameworks:
        found["NVIDIA_TF32_OVERRIDE"] = "0"
    return found


def _gradient(shown: Symptom, layers: Sequence[Layer]) -> Mapping[str, object]:
    """Return which gradient is looked at: its name, its layer, its place among those of all weights, the index."""
    if shown.gradient is None:
        return {}
    index = ", ".join(map(str, shown.got[0][1]))
    name, _, layer = shown.gradient.partition(" of layer ")
    number = int(layer) if layer else 0
    place = sum(1 + each.use_bias for each in layers[:number]) + (name == "db")
    return {"name": name, "layer": layers[number], "place": place, "index": index}


def _sum(terms: Sequence[tuple[str, tuple[int, ...]]], answers: Mapping[str, str]) -> str:
    return " + ".join(f"float({answers[label]}[{', '.join(map(str, index))}])" for label, index in terms)


def _exact(shown: Symptom, answers: Mapping[str, str]) -> str:
    return _sum(shown.reference, answers) if shown.reference else _literal(shown.exact)


def _literal(value: float | None) -> str:
    return "None" if value is None else repr(value) if np.isfinite(value) else f'float("{value}")'


def _element(shown: Symptom) -> str:
    """Return the words for what is compared: `at output[2, 14]`."""
    what = "" if shown.gradient is None else f": {shown.gradient}"
    return "at " + " + ".join(f"{label}{what}{list(index)}" for label, index in shown.got)


def _title(record: CellRecord, shown: Symptom | None) -> list[str]:
    """Return the comments a script begins with: which cell, what was seen, and who says so."""
    seen = record.outcome if shown is None else f"{shown.check}: {shown.observed}"
    for each in record.checks:
        if shown is not None and each.check == shown.check and each.message:
            seen = f"{shown.check}: {each.message}"
    return [_one_line(record.name), _one_line(seen), f"Written by dense-conformance {conformance.__version__}."]


def _one_line(text: str) -> str:
    """Return printable text of one line: what is not printable would end a comment, or show another script."""
    line = text.strip().split("\n", 1)[0][:160]
    return "".join(each if each.isprintable() else "?" for each in line)


def _tidy(text: str) -> str:
    """Return a script without the blank lines that templates leave, but for one below its imports."""
    lines = [each.rstrip() for each in text.splitlines() if each.strip()]
    last = next(index for index, each in enumerate(lines) if each == "import numpy as np")
    return "\n".join([*lines[: last + 1], "", *lines[last + 1 :]]) + "\n"


@functools.cache
def _template(name: str) -> Template:
    return _templates().get_template(f"{name}.py.jinja")


@functools.cache
def _templates() -> Environment:
    # Scripts are Python and no HTML: nothing is escaped for a page here, the page escapes a script as a whole.
    found = Environment(
        loader=PackageLoader("conformance.run.reproduce"),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters["py"] = repr
    return found
