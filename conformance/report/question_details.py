"""
The question of a case, in words and as a row of a case table that repeats it.

Both follow from the field `question` of a record. Fields of later versions are shown as they are; nothing is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from conformance.report import text
from conformance.results import plain
from conformance.results.record import QuestionRecord

#: The default of each field of a row. A field with its default is left out of the row.
_DEFAULTS: Final[Mapping[str, object]] = {
    "activation": "linear",
    "use_bias": True,
    "dtype": "float32",
    "batch": 2,
    "layout": "contiguous",
}
_LANES: Final = {
    "exact": "numbers chosen so that every sum is exact: no error is allowed",
    "uniform": "numbers of mixed signs, with a bound on the error of each element",
    "literal": "the numbers given by the row",
    "wide": "numbers whose exponents lie far apart",
    "cancelling": "a bias that cancels the product",
    "special": "infinities and NaN among the numbers",
    "denormal": "numbers below the smallest normal one",
}
_LAYOUTS: Final = {
    "contiguous": "one row after the other in memory",
    "transposed": "transposed in memory",
    "strided": "strided in memory",
    "broadcast": "one row that stands for many in memory",
}
#: Fields that the phrases about shapes and layers cover.
_SHAPE_FIELDS: Final = ("input_shape", "batch", "units", "activation", "use_bias")
# A number that is not finite is a string in a results file, and `.inf`, `-.inf` or `.nan` in YAML.
_NOT_FINITE: Final = re.compile(r'"(-?)(inf|nan)"')


def words(question: QuestionRecord | None) -> list[str]:
    """Return a question as short phrases."""
    return [] if question is None else [each for each in _phrases(question) if each]


def _phrases(question: QuestionRecord) -> Iterator[str]:
    shape = question.input_shape
    if shape is not None:
        yield f"one sample has the shape {_tuple(shape)}" + (f", rank {len(shape)}" if shape else ": a single number")
    yield _batch(question)
    if question.units:
        layers = [_layer(question, index, each) for index, each in enumerate(question.units)]
        yield ("a dense layer of " if len(layers) == 1 else f"{len(layers)} dense layers: ") + "; then ".join(layers)
    for key, content in plain(question).items():
        if key not in _SHAPE_FIELDS or key in question.rest:
            yield _other(key, content)


def _batch(question: QuestionRecord) -> str:
    batch = question.batch
    if batch is msgspec.UNSET:
        return ""
    if batch is None:
        return "one sample alone, without a batch axis"
    return f"leading axes {_tuple(batch)}" if isinstance(batch, list) else f"a batch of {batch}"


def _layer(question: QuestionRecord, index: int, units: object) -> str:
    parts = [f"{text.value(units)} unit{'' if units == 1 else 's'}"]
    activation, bias = (_item(each, index) for each in (question.activation, question.use_bias))
    parts += [] if activation in (None, "linear") else [text.value(activation)]
    parts += ["without bias"] if bias is False else []
    return ", ".join(parts)


def _other(key: str, content: object) -> str:
    if content is None or content is False:
        return ""
    if key == "error" and content is True:
        return "the framework must refuse it"
    if key == "dtype":
        return f"in {text.value(content)}"
    if key == "input_dtype":
        return f"with an input of {text.value(content)}"
    if key == "feed_shape" and isinstance(content, list):
        return f"called with the shape {_tuple(content)}, for which it was not built"
    if key == "lane" and isinstance(content, str) and content in _LANES:
        return f"{content}: {_LANES[content]}"
    if key == "layout" and isinstance(content, str) and content in _LAYOUTS:
        return "" if content == "contiguous" else f"the input is {_LAYOUTS[content]}"
    if key == "environment" and isinstance(content, Mapping):
        return "the process is started with " + ", ".join(
            f"{name}={text.value(each)}" for name, each in content.items()
        )
    return f"{key.replace('_', ' ')} {text.head(text.value(content), 300)}"


def yaml(question: QuestionRecord | None) -> list[str]:
    """
    Return the lines of a row with this question, for a file of the case table.

    Fields with their defaults are left out. Values are written as JSON, which is also YAML.
    """
    fields = {} if question is None else dict(_fields(question))
    return [f"{'- ' if not index else '  '}{key}: {value}" for index, (key, value) in enumerate(fields.items())]


def _fields(question: QuestionRecord) -> Iterator[tuple[str, str]]:
    several = len(question.units or ()) > 1
    for key, content in plain(question).items():
        if key in ("activation", "use_bias", "units") and isinstance(content, list) and content:
            yield from _layer_field(key, content, several=several)
        elif key == "lane":
            yield from _values(content)
        elif key == "error":
            yield from [] if content is False else [("expect", _flow({"error": content}))]
        elif key == "data" and isinstance(content, Mapping):
            yield key, _NOT_FINITE.sub(r"\1.\2", _flow(_data(content, several=several)))
        elif not _is_default(key, content):
            yield _plain(str(key)), _flow(content)


def _layer_field(key: str, content: Sequence[object], *, several: bool) -> Iterator[tuple[str, str]]:
    is_uniform = key != "units" and all(each == content[0] for each in content)
    value = content[0] if is_uniform or not several else content
    if key not in _DEFAULTS or value != _DEFAULTS[key]:
        yield key, _flow(value)


def _values(lane: object) -> Iterator[tuple[str, str]]:
    if isinstance(lane, str) and lane != "literal":
        yield "values", _flow([lane])
    elif lane is not None and not isinstance(lane, str):
        yield "lane", _flow(lane)


def _is_default(key: str, content: object) -> bool:
    if content is None and key in ("feed_shape", "data", "input_dtype", "environment"):
        return True
    # False is 0 in Python, and True is 1.
    return key in _DEFAULTS and content == _DEFAULTS[key] and isinstance(content, bool) == (key == "use_bias")


def _data(data: Mapping[str, object], *, several: bool) -> dict[str, object]:
    """Return the arrays as a row has them; those of a single layer are `kernel` and `bias`."""
    names = {"kernels": "kernel", "biases": "bias"}
    arrays = {}
    for key, content in data.items():
        if content is None or content == [None]:
            continue
        if key in names and isinstance(content, list) and len(content) == 1 and not several:
            content = content[0]
        arrays[names.get(key, key)] = content
    return arrays


def _flow(content: object) -> str:
    return text.head(json.dumps(content, ensure_ascii=False, default=str), 2_000)


def _plain(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key, ensure_ascii=False)


def _item(content: Sequence[object] | None, index: int) -> object:
    return content[index] if content is not None and index < len(content) else None


def _tuple(shape: Sequence[object]) -> str:
    axes = ["unknown" if each is None else text.value(each) for each in shape]
    return f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
