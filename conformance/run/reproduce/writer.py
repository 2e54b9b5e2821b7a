"""
The script of one cell, written from a template.

Every step that leads to the failure becomes a few lines, which the template of the framework writes. Text of records
and rows enters a script as comments of one line or as Python literals, never as code.
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
from conformance.run.reproduce.family import SHAPE_ONLY_MODES, check_template, family_of, function_of
from conformance.run.reproduce.row import row_of
from conformance.run.reproduce.step_lines import StepLines
from conformance.run.reproduce.symptom import NotReproducible, Symptom, needed_steps, symptom_of
from conformance.run.reproduce.template_names import Layer, layers_of, names_of
from conformance.sandbox.steps import Build, Differentiate, Step
from conformance.table.case import INTEGER_DTYPES, Case

#: Symptoms that do not depend on the weights, and templates whose layers have initial weights.
_WITHOUT_VALUES: Final = ("dtype", "shape", "inferred", "parameters")
_WITH_INITIAL_WEIGHTS: Final = (
    "keras",
    "keras2",
    "torch",
    "flax_linen",
    "flax_nnx",
    "equinox",
    "haiku",
    "tensorflow_v1",
)
#: Import name -> distribution, where the two differ.
_DISTRIBUTIONS: Final = {"haiku": "dm-haiku"}
_FRAMEWORKS: Final = ("numpy", "torch", "jax", "tensorflow")


def script(
    record: CellRecord,
    question: Question | None,
    *,
    case: Case,
    implementation: Implementation,
    check: str | None = None,
) -> str:
    """
    Return the text of a standalone Python script that shows what the record of a cell says.

    Where no script of the framework alone can show it, the script runs the row.

    Args:
        record: the record of the cell.
        question: the question of the cell, None if it was not sent.
        case: the case of the cell.
        implementation: the implementation of the cell.
        check: the failing check to show, None for the first.

    Raises:
        NotReproducible: no check of the cell fails, or `check` does not.
    """
    symptom = None
    try:
        if question is not None:
            symptom = symptom_of(record, question, check)
            return _tidy(_render(record, question, symptom, case, implementation))
    except NotReproducible:
        if record.outcome in ("conforms", "unsupported", "not_run") or (check is not None and symptom is None):
            raise
    context = {
        "title": _title(record, symptom),
        "implementation": implementation.name,
        "device": record.device,
        "row": f"rows:\n  - {row_of(case)}\n",
        "expected": "an outcome other than conforms, and why",
    }
    text: str = _template("run").render(context)
    return text.rstrip() + "\n"


def _render(
    record: CellRecord, question: Question, symptom: Symptom, case: Case, implementation: Implementation
) -> str:
    family = family_of(implementation)
    if family is None or implementation.mode in SHAPE_ONLY_MODES:
        raise NotReproducible(f"{implementation.name} has no template")
    steps = needed_steps(question, symptom.steps)
    check_template(family, implementation, steps)
    arrays = Arrays(case.digest if case.data is None else None)
    first = next(each for each in steps if isinstance(each, Build)).stack
    layers = layers_of(first)
    weightless = (
        symptom.kind in _WITHOUT_VALUES and family in _WITH_INITIAL_WEIGHTS and implementation.mode != "functional"
    )
    step_lines = StepLines(layers, arrays, case, weightless=weightless)
    lines = step_lines.lines_of(steps)
    environment = _environment(record, implementation, case)
    packed = ["base64", "zlib"] if "packed" in arrays.helpers else []
    text: str = _template("script").render(
        title=_title(record, symptom),
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
        **_implementation_variables(implementation, steps),
        **_symptom_variables(symptom, step_lines.answers, layers),
        **names_of(layers),
    )
    return text


def _implementation_variables(implementation: Implementation, steps: Sequence[Step]) -> dict[str, object]:
    """Return the variables of the template that describe the framework and how it is called."""
    library, function = function_of(implementation)
    differentiates = any(isinstance(each, Differentiate) for each in steps)
    strided = any(getattr(each, "layout", "contiguous") != "contiguous" for each in steps)
    is_compiled = implementation.mode in ("graph", "xla", "jit", "decorated")
    return {
        "versions": _versions(implementation),
        "mode": None if function else implementation.mode,
        "backend": implementation.environment.get("KERAS_BACKEND"),
        "uses_backend": differentiates or strided or is_compiled,
        "differentiates": differentiates,
        "library": library,
        "function": function,
    }


def _symptom_variables(symptom: Symptom, answers: Mapping[str, str], layers: Sequence[Layer]) -> dict[str, object]:
    """Return the variables of the template that describe the failure; `answers` maps steps to names of outputs."""
    return {
        "symptom": symptom,
        "expected": _one_line(symptom.expected),
        "last": list(answers.values())[-1] if answers else "",
        "exact": _exact(symptom, answers),
        "allowed": _literal(symptom.allowed),
        "got": _sum(symptom.got, answers) if symptom.kind == "value" else "",
        "element": _element(symptom),
        "gradient": _gradient(symptom, layers),
    }


def _versions(implementation: Implementation) -> tuple[str, ...]:
    """Return the distributions whose versions the script prints."""
    distributions = [_DISTRIBUTIONS.get(each, each) for each in implementation.packages]
    if function_of(implementation)[1] is not None:
        distributions = [each for each in implementation.packages if each in _FRAMEWORKS]
    return tuple(dict.fromkeys([*distributions, "numpy"]))


def _environment(record: CellRecord, implementation: Implementation, case: Case) -> dict[str, str]:
    """Return the variables to set before anything is imported: the implementation's, the row's, the device's."""
    variables = {**implementation.environment, **dict(case.environment)}
    frameworks = {*implementation.packages, implementation.environment.get("KERAS_BACKEND")}
    if record.device == "cpu" and frameworks & {"jax", "tensorflow", "keras"}:
        variables["CUDA_VISIBLE_DEVICES"] = "-1"
    if record.device == "gpu" and "jax" in frameworks:
        variables["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
    if record.device == "gpu" and "tensorflow" in frameworks:
        variables["NVIDIA_TF32_OVERRIDE"] = "0"
    return variables


def _gradient(symptom: Symptom, layers: Sequence[Layer]) -> Mapping[str, object]:
    """Return the gradient to compare: its name, its layer, its place among those of all weights, and the index."""
    if symptom.gradient is None:
        return {}
    index = ", ".join(map(str, symptom.got[0][1]))
    name, layer = symptom.gradient.name, symptom.gradient.layer
    place = sum(1 + each.use_bias for each in layers[:layer]) + (name == "db")
    return {"name": name, "layer": layers[layer], "place": place, "index": index}


def _sum(terms: Sequence[tuple[str, tuple[int, ...]]], answers: Mapping[str, str]) -> str:
    return " + ".join(f"float({answers[label]}[{', '.join(map(str, index))}])" for label, index in terms)


def _exact(symptom: Symptom, answers: Mapping[str, str]) -> str:
    return _sum(symptom.reference, answers) if symptom.reference else _literal(symptom.exact)


def _literal(value: float | None) -> str:
    return "None" if value is None else repr(value) if np.isfinite(value) else f'float("{value}")'


def _element(symptom: Symptom) -> str:
    """Return the text that names the compared element: `at output[2, 14]`."""
    what = "" if symptom.gradient is None else f": {symptom.gradient}"
    return "at " + " + ".join(f"{label}{what}{list(index)}" for label, index in symptom.got)


def _title(record: CellRecord, symptom: Symptom | None) -> list[str]:
    """Return the comments that a script begins with: the cell, what was observed, and the version of this suite."""
    observed = record.outcome if symptom is None else f"{symptom.check}: {symptom.observed}"
    for each in record.checks:
        if symptom is not None and each.check == symptom.check and each.message:
            observed = f"{symptom.check}: {each.message}"
    return [_one_line(record.name), _one_line(observed), f"Written by dense-conformance {conformance.__version__}."]


def _one_line(text: str) -> str:
    """Return printable text of one line. Other characters could end a comment, or change how a script is displayed."""
    line = text.strip().split("\n", 1)[0][:160]
    return "".join(each if each.isprintable() else "?" for each in line)


def _tidy(text: str) -> str:
    """Return a script without blank lines, except for one below its imports."""
    lines = [each.rstrip() for each in text.splitlines() if each.strip()]
    last = next(index for index, each in enumerate(lines) if each == "import numpy as np")
    return "\n".join([*lines[: last + 1], "", *lines[last + 1 :]]) + "\n"


@functools.cache
def _template(name: str) -> Template:
    return _templates().get_template(f"{name}.py.jinja")


@functools.cache
def _templates() -> Environment:
    # Scripts are Python, not HTML. The page escapes a script as a whole.
    templates = Environment(
        loader=PackageLoader("conformance.run.reproduce"),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters["py"] = repr
    return templates
