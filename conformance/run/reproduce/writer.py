"""
The script of one cell: which template, and what stands in it.

Every step of the question that leads to what failed becomes a few lines; the templates say how each framework's users
write them. Text of records and rows enters a script as comments of one line or as Python literals, never as code.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

import conformance
from conformance.adapters.protocol import Array, Stack
from conformance.adapters.registry import Implementation
from conformance.checks.question import Question
from conformance.run.reproduce.arrays import Arrays
from conformance.run.reproduce.family import SHAPES_ALONE, check_words, family_of, function_of
from conformance.run.reproduce.row import row_of
from conformance.run.reproduce.symptom import NotShown, Record, Symptom, needed, symptom
from conformance.run.reproduce.template_names import Layer, Lines, Tensor, arranged, layers_of, names_of
from conformance.sandbox.steps import Build, Differentiate, Forward, InferShapes, ReadParameters, SetWeights, Step
from conformance.table.case import INTEGER_DTYPES, Case

#: Symptoms that no weight plays a part in, and templates whose layers have initial weights of their own.
_OF_NO_VALUES: Final = ("dtype", "shape", "inferred", "parameters")
_HOLDING: Final = ("keras", "keras2", "torch", "flax_linen", "flax_nnx", "equinox", "haiku", "tensorflow_v1")
#: Import names that are not those of the distribution.
_DISTRIBUTIONS: Final = {"haiku": "dm-haiku"}
_FRAMEWORKS: Final = ("numpy", "torch", "jax", "tensorflow")


def script(
    record: Record, asked: Question | None, *, case: Case, implementation: Implementation, check: str | None = None
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
        if record["outcome"] in ("conforms", "unsupported", "not_run") or (check is not None and shown is None):
            raise
    context = {
        "title": _title(record, shown),
        "implementation": implementation.name,
        "device": record["device"],
        "row": f"rows:\n  - {row_of(case)}\n",
        "expected": "an outcome other than conforms, and why",
    }
    text: str = _template("run").render(context)
    return text.rstrip() + "\n"


def _render(record: Record, asked: Question, shown: Symptom, case: Case, implementation: Implementation) -> str:
    family = family_of(implementation)
    if family is None or implementation.mode in SHAPES_ALONE:
        raise NotShown(f"{implementation.name} has no template")
    steps = needed(asked, shown.steps)
    check_words(family, implementation, steps)
    arrays = Arrays(case.digest if case.data is None else None)
    first = next(each for each in steps if isinstance(each, Build)).stack
    layers = layers_of(first)
    weightless = shown.kind in _OF_NO_VALUES and family in _HOLDING and implementation.mode != "functional"
    lines, answers = _lines(steps, layers, arrays, case, weightless=weightless)
    names = names_of(layers)
    library, function = function_of(implementation)
    differentiates = any(isinstance(each, Differentiate) for each in steps)
    strided = any(getattr(each, "layout", "contiguous") != "contiguous" for each in steps)
    environment = _environment(record, implementation, case)
    packed = ["base64", "zlib"] if "packed" in arrays.helpers else []
    last = list(answers.values())[-1] if answers else ""
    context: dict[str, object] = {
        "title": _title(record, shown),
        "modules": sorted([*packed, *(["os"] if environment else [])]),
        "family": family,
        "environment": environment,
        "helpers": [each.rstrip() for each in arrays.helpers.values()],
        "versions": _versions(implementation, library),
        "symptom": shown,
        "expected": _one_line(shown.expected),
        "steps": lines,
        "layers": layers,
        "mode": None if function else implementation.mode,
        "backend": implementation.environment.get("KERAS_BACKEND"),
        "uses_backend": differentiates or strided or implementation.mode in ("graph", "xla", "jit", "decorated"),
        "differentiates": differentiates,
        "dtype": first.dtype,
        "of_other_dtype": case.input_dtype is not None,
        "floating": (case.input_dtype or case.dtype) not in INTEGER_DTYPES,
        "given": lines[0].given,
        "device": record["device"],
        "library": library,
        "function": function,
        "last": last,
        "exact": _exact(shown, answers),
        "allowed": _literal(shown.allowed),
        "got": _sum(shown.got, answers) if shown.kind == "value" else "",
        "element": _element(shown),
        "gradient": _gradient(shown, layers),
        **names,
    }
    text: str = _template("script").render(context)
    return text


def _versions(implementation: Implementation, library: str) -> tuple[str, ...]:
    known = [_DISTRIBUTIONS.get(each, each) for each in implementation.packages]
    if function_of(implementation)[1] is not None:
        known = [each for each in implementation.packages if each in _FRAMEWORKS]
    return tuple(dict.fromkeys([*known, "numpy"]))


def _environment(record: Record, implementation: Implementation, case: Case) -> dict[str, str]:
    """Return the variables to set before anything is imported: the implementation's, the row's, the device's."""
    found = {**implementation.environment, **dict(case.environment)}
    frameworks = {*implementation.packages, implementation.environment.get("KERAS_BACKEND")}
    if record["device"] == "cpu" and frameworks & {"jax", "tensorflow", "keras"}:
        found["CUDA_VISIBLE_DEVICES"] = "-1"
    if record["device"] == "gpu" and "jax" in frameworks:
        found["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
    if record["device"] == "gpu" and "tensorflow" in frameworks:
        found["NVIDIA_TF32_OVERRIDE"] = "0"
    return found


def _lines(
    steps: Sequence[Step], layers: Sequence[Layer], arrays: Arrays, case: Case, *, weightless: bool
) -> tuple[list[Lines], dict[str, str]]:
    """Return the steps as the template sees them, and by the label of each forward step the name of its output."""
    handed: dict[tuple[int, str], Tensor] = {}
    answers: dict[str, str] = {}
    lines: list[Lines] = []
    several = sum(isinstance(each, Forward) for each in steps) > 1
    written: dict[str, Array] = {}

    def tensor(array: Array, layout: str, part: str) -> tuple[Tensor, list[Tensor]]:
        key = (id(array), layout)
        if key in handed:
            return handed[key], []
        number = sum(each.name.startswith(part) for each in handed.values())
        given = np.zeros_like(array) if weightless else array
        expression = arranged(arrays.expression(given, part), array, layout)
        handed[key] = Tensor(
            name=part + (str(number + 1) if number else ""),
            expression=expression,
            dtype=array.dtype.name,
            strided=layout != "contiguous",
            rank=array.ndim,
        )
        return handed[key], [handed[key]]

    for step in steps:
        line = Lines(kind="", model="model" if step.model == "main" else re.sub(r"\W", "_", step.model))
        match step:
            case Build() | SetWeights():
                line.kind = "build" if isinstance(step, Build) else "weights"
                line.shape, line.leading = step.stack.input_shape, step.stack.leading_axes
                line.given = not weightless and all(each.kernel is not None for each in step.stack.layers)
                line.arrays = list(_weights(step.stack, layers, arrays, written)) if line.given else []
            case Forward():
                line.kind = "forward"
                line.x, line.tensors = tensor(step.x, step.layout, "x")
                line.y = answers[step.label] = f"y{len(answers) + 1}" if several else "y"
            case Differentiate():
                line.kind = "differentiate"
                line.x, line.tensors = tensor(step.x, step.layout, "x")
                line.dy, more = tensor(step.dy, "contiguous", "dy")
                line.tensors = [*line.tensors, *more]
            case InferShapes():
                line.kind, line.shape = "infer", case.input_shape
            case ReadParameters():
                line.kind = "parameters"
        lines.append(line)
    return lines, answers


def _weights(stack: Stack, layers: Sequence[Layer], arrays: Arrays, written: dict[str, Array]) -> Iterator[Tensor]:
    """Yield kernels and biases that are not written already."""
    for layer, each in zip(layers, stack.layers, strict=True):
        for name, part, array in (
            (layer.kernel, f"kernel {layer.index}", each.kernel),
            (layer.bias, f"bias {layer.index}", each.bias),
        ):
            if array is not None and written.get(name) is not array:
                written[name] = array
                yield Tensor(name=name, expression=arrays.expression(array, part))


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


def _title(record: Record, shown: Symptom | None) -> list[str]:
    """Return the comments a script begins with: which cell, what was seen, and who says so."""
    seen = record["outcome"] if shown is None else f"{shown.check}: {shown.observed}"
    for each in record["checks"]:
        if shown is not None and each["check"] == shown.check and each.get("message"):
            seen = f"{shown.check}: {each['message']}"
    cell = f"{record['device']}/{record['implementation']}/{record['case']}"
    return [_one_line(cell), _one_line(seen), f"Written by dense-conformance {conformance.__version__}."]


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
