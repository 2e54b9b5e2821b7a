"""`conformance explain`: its tables, its reasons, and its errors."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from conformance.commands.explain.text import explain, parse_shape
from tests.support.paths import ROOT

UNITS = [4, 10]
ACTIVATIONS = ["linear", "softmax"]
#: The four models of the question that began this, as worked by hand.
SEED = {
    (784,): (["(None, 4)", "(None, 10)"], ["3,140", "50"], "3,190 (12.46 KB)"),
    (784, 1): (["(None, 784, 4)", "(None, 784, 10)"], ["8", "50"], "58 (232.00 B)"),
    (32, 28): (["(None, 32, 4)", "(None, 32, 10)"], ["116", "50"], "166 (664.00 B)"),
    (32, 28, 1): (["(None, 32, 28, 4)", "(None, 32, 28, 10)"], ["8", "50"], "58 (232.00 B)"),
}


def parsed(summary: str) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """Return rows (heading first) and totals of a summary, whoever printed it."""
    lines = summary.splitlines()
    rows = [tuple(cell.strip() for cell in line[1:-1].split(line[0])) for line in lines if line[:1] in ("┃", "│")]
    totals = [re.fullmatch(r" (\S+ params): (.*)", line.rstrip()) for line in lines]
    return rows, {match[1]: match[2] for match in totals if match is not None}


@pytest.mark.parametrize("shape", SEED)
def test_four_models_have_the_numbers_computed_by_hand(shape: tuple[int, ...]) -> None:
    shapes, counts, total = SEED[shape]
    rows, totals = parsed(explain([shape], UNITS, ACTIVATIONS))
    assert rows == [
        ("Layer (type)", "Output Shape", "Param #"),
        ("dense (Dense)", shapes[0], counts[0]),
        ("dense_1 (Dense)", shapes[1], counts[1]),
    ]
    assert totals == {"Total params": total, "Trainable params": total, "Non-trainable params": "0 (0.00 B)"}


KERAS = """
import json, sys
import keras
for shape, units, activations, use_bias in json.loads(sys.argv[1]):
    keras.backend.clear_session()
    layers = [keras.layers.Dense(m, activation=a, use_bias=use_bias) for m, a in zip(units, activations)]
    keras.Sequential([keras.Input(shape), *layers]).summary(line_length=200, positions=[0.3, 0.8, 1.0])
    print("<end>")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="keras is not installed: no summary to compare with"
)
def test_the_table_equals_the_summary_of_keras(tmp_path: Path) -> None:
    backends = {"torch": "torch", "jax": "jax", "tensorflow": "tensorflow"}
    found = [each for each in backends if importlib.util.find_spec(each) is not None]
    if not found:
        pytest.skip("keras is installed, but no backend for it: no summary to compare with")
    asked: list[tuple[tuple[int, ...], list[int], list[str], bool]] = [
        *((shape, UNITS, ACTIVATIONS, True) for shape in SEED),
        ((2, 3, 4, 5), [1], ["relu"], False),
        ((5, 1000), [2000, 1, 300], ["tanh", "sigmoid", "linear"], True),
        ((0, 7), [3], ["linear"], True),
    ]
    # Keras writes a file into its home when it is imported.
    env = {
        **os.environ,
        "KERAS_BACKEND": found[0],
        "KERAS_HOME": str(tmp_path),
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "220",
    }
    done = subprocess.run(
        [sys.executable, "-c", KERAS, json.dumps(asked)], env=env, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("<end>\n")[:-1]
    assert len(printed) == len(asked)
    for (shape, units, activations, use_bias), summary in zip(asked, printed, strict=True):
        ours = parsed(explain([shape], units, activations, use_bias))
        assert ours == parsed(summary)
        assert len(ours[0]) == 1 + len(units)
        assert len(ours[1]) == 3


def test_a_summary_with_a_planted_fault_differs_from_the_table() -> None:
    ours = explain([(784,)], UNITS, ACTIVATIONS)
    for right, wrong in (
        ("3,140", "3,136"),
        ("(None, 4)", "(None, 784, 4)"),
        ("dense_1", "dense_2"),
        ("12.46", "12.47"),
    ):
        assert parsed(ours.replace(right, wrong)) != parsed(ours)


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (
            (784,),
            "rank 1: one vector of 784 features. The comma in (784,) only makes a tuple of one number; it adds no",
        ),
        ((784,), "784 × 4 for the kernel and 4 for the bias: 784 × 4 + 4 = 3,140. No other axis enters the count."),
        ((784,), "for each sample: output = input @ kernel + bias (4,) = (784,) @ (784, 4) + (4,)"),
        ((784,), "batch axis None, put in front: (None, 784). It is the number of samples, unknown until data comes."),
        ((784,), "kept None (the batch). Dense never flattens"),
        ((784, 1), "rank 2: 784 positions of 1 feature each."),
        ((784, 1), "1 × 4 for the kernel and 4 for the bias: 1 × 4 + 4 = 8."),
        ((32, 28), "28 × 4 + 4 = 116"),
        ((32, 28, 1), "rank 3: 32 × 28 = 896 positions of 1 feature each."),
        ((32, 28, 1), "for each i in 32 and j in 28: output[i, j, :] = input[i, j, :] @ kernel + bias"),
        ((32, 28, 1), "(4,) = (1,) @ (1, 4) + (4,) with the same kernel and bias at each of the 896 positions."),
        ((32, 28, 1), "dense: (None, 32, 28, 1) -> (None, 32, 28, 4), 8 parameters"),
        ((32, 28, 1), "dense_1: (None, 32, 28, 4) -> (None, 32, 28, 10), 50 parameters"),
        ((32, 28, 1), "replaced the last axis: 1 feature in, 4 units out. kept None (the batch), 32, 28."),
        ((32, 28, 1), "activation linear, which enters neither shape nor count."),
        (
            (32, 28, 1),
            "softmax, which enters neither shape nor count; it goes over the last axis, the 10 units of each",
        ),
        ((1, 2, 3, 4, 5, 6), "for each i0 in 1 and i1 in 2 and i2 in 3 and i3 in 4 and i4 in 5:"),
        ((0, 7), "rank 2: 0 positions of 7 features each."),
        ((0,), "0 × 4 for the kernel and 4 for the bias: 0 × 4 + 4 = 4."),
    ],
)
def test_the_text_gives_the_reasons(shape: tuple[int, ...], text: str) -> None:
    assert text in flat(explain([shape], UNITS, ACTIVATIONS))


def test_without_bias_the_text_mentions_bias_once() -> None:
    text = flat(explain([(784, 3)], [4], ["linear"], use_bias=False))
    assert "3 × 4 for the kernel, and no bias: 3 × 4 = 12." in text
    assert "output[i, :] = input[i, :] @ kernel (4,) = (3,) @ (3, 4) with the same kernel at each of the 784" in text
    assert text.count("bias") == 1


def test_one_activation_serves_all_layers() -> None:
    assert explain([(7,)], [4, 10], ["relu"]) == explain([(7,)], [4, 10], ["relu", "relu"])


# Several shapes


def test_tables_stand_side_by_side_where_they_fit_and_one_below_the_other_where_not() -> None:
    shapes = [(784,), (784, 1)]
    wide, narrow = explain(shapes, UNITS, ACTIVATIONS, width=100), explain(shapes, UNITS, ACTIVATIONS, width=92)
    assert re.match(r"input_shape=\(784,\) +input_shape=\(784, 1\)\n", wide)
    assert narrow.startswith("input_shape=(784,)\nModel")
    tables = narrow.split("Input (784,)")[0].split("input_shape=")
    for shape, table in zip(shapes, tables[1:], strict=True):
        assert parsed(table) == parsed(explain([shape], UNITS, ACTIVATIONS))
    assert flat(wide).split("Input (784,)")[1] == flat(narrow).split("Input (784,)")[1]


def test_the_text_explains_why_two_shapes_differ() -> None:
    text = flat(explain([(784,), (784, 1)], UNITS, ACTIVATIONS)).split("Why they differ")[1]
    assert "(784,) is rank 1: one vector of 784 features; the first kernel is (784, 4)." in text
    assert "(784, 1) is rank 2: 784 positions of 1 feature each; the first kernel is (1, 4)." in text
    assert "Each holds 784 numbers a sample, but a layer does not count numbers" in text
    assert "784 gives 3,140, 1 gives 8" in text
    assert "its count is the same: dense_1 50." in text


def test_shapes_with_equal_last_axes_have_equal_counts() -> None:
    text = flat(explain([(784, 1), (32, 28, 1)], UNITS, ACTIVATIONS)).split("Why they differ")[1]
    assert "Shapes with equal last axes have equal counts, whatever the axes before them." in text
    assert "numbers a sample" not in text
    assert "gives" not in text


def test_a_shape_given_twice_is_explained_once() -> None:
    assert explain([(7,), (7,)], [4], ["linear"]) == explain([(7,)], [4], ["linear"])


@pytest.mark.parametrize("width", [0, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("shapes", [[(784,)], [(784, 1), (32, 28, 1)], list(SEED)])
def test_only_tables_and_formulas_are_longer_than_the_terminal(shapes: Sequence[tuple[int, ...]], width: int) -> None:
    for line in explain(shapes, UNITS, ACTIVATIONS, width=width).splitlines():
        assert line == line.rstrip()
        unbreakable = (line[:1] in tuple("┏┃┡│├└ MiI") and not line.startswith("  ")) or "->" in line or " @ " in line
        assert len(line) <= max(width, 40) or unbreakable


# What cannot be explained


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("784", (784,)),
        ("784,", (784,)),
        ("784,1", (784, 1)),
        (" 32 , 28,1 ", (32, 28, 1)),
        ("(784, 1)", (784, 1)),
        ("(784,)", (784,)),
        ("[784, 1]", (784, 1)),
        ("()", ()),
        ("[ ]", ()),
        ("0,5", (0, 5)),
        ("007", (7,)),
        ("9223372036854775807", (2**63 - 1,)),
    ],
)
def test_a_shape_is_read(text: str, shape: tuple[int, ...]) -> None:
    assert parse_shape(text) == shape


#: One on each side of every bar.
NO_SHAPES = """
784x1 | 784 1 | 784;1 | 784,,1 | ,784 | 1,2,, | , | ,, | -1 | +1 | 1.0 | 1e3 | 1_000 | ７８４ | ² | a | (784 | 784)
(784] | ((784)) | None,784 | 9223372036854775808 | \x1b[31m
"""


@pytest.mark.parametrize(
    "text", ["", " ", "1" * 5000, *(each.strip() for each in re.split(r"[|\n]", NO_SHAPES.strip()))]
)
def test_an_invalid_shape_is_one_line_of_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a shape: ") as error:
        parse_shape(text)
    message = str(error.value)
    assert message.startswith(repr(text)[:60])
    assert message.isprintable()
    assert len(message) < 200
    assert ("the batch axis, None, is not part of it" in message) == ("None" in text)


@pytest.mark.parametrize(
    ("shapes", "units", "activations", "message"),
    [
        ([()], [4], ["linear"], r"no dense layer takes \(\) with units \[4\]: rank 0 has no last axis"),
        ([(784,)], [4, -1], ["linear"], r"with units \[4, -1\]: units is an integer of 0 or more, not -1"),
        ([(784,)], [], ["linear"], "a stack has at least one layer"),
        ([(784,)], [4], ["sotfmax"], "no such activation: 'sotfmax'; there are linear, relu, "),
        ([(784,)], [4, 10, 3], ["linear", "relu"], "2 activations for 3 layers: give one for all, or one per layer"),
        ([(784,)], [4], [], "0 activations for 1 layers"),
        ([], [4], ["linear"], "there is no input shape to explain"),
    ],
)
def test_an_illegal_layer_is_refused(
    shapes: list[tuple[int, ...]], units: list[int], activations: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        explain(shapes, units, activations)


def test_explain_imports_no_slow_package() -> None:
    code = (
        "import sys; from conformance.commands.explain.text import explain;"
        " explain([(784, 1)], [4], ['linear']); print(*sys.modules)"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    modules = set(done.stdout.split())
    ours = {each for each in modules if each.startswith("conformance.")}
    explaining = {"commands", *(f"commands.explain{each}" for each in ("", ".text", ".layer_table", ".frameworks"))}
    assert ours == {f"conformance.{each}" for each in (*explaining, "table", "table.case", "table.rule")}
    heavy = {"numpy", "pydantic", "rich", "jinja2", "yaml", "torch", "keras", "tensorflow", "jax", "flax", "pytest"}
    assert not modules & heavy
    assert seconds < 5, "half a second on a quiet machine; ten times that means that something heavy came in"


COMMAND = [
    sys.executable,
    "-m",
    "conformance",
    "explain",
    "--input-shape",
    "784,1",
    "--units",
    "4",
    "--framework",
    "all",
]


def on_a_terminal(**variables: str) -> str:
    """Return what the command writes to a terminal, its line ends as written."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "100", **variables}
    with subprocess.Popen(COMMAND, stdout=theirs, stderr=theirs, stdin=theirs, env=environment, cwd=ROOT) as process:
        os.close(theirs)
        written = b""
        # The end of a terminal whose other side is closed is an error on Linux.
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 65536):
                written += chunk
        assert process.wait(timeout=60) == 0
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


def test_a_terminal_sees_colour_and_the_same_words() -> None:
    piped = subprocess.run(
        COMMAND, capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "COLUMNS": "100"}
    ).stdout
    assert "\x1b" not in piped
    coloured = on_a_terminal()
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == piped
    assert on_a_terminal(NO_COLOR="1") == piped
    assert on_a_terminal(TERM="dumb") == piped
