"""Every way a row or a file can be wrong, planted once, with the place it must be found at."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from conformance.table.loader import (
    Fault,
    TableError,
    lint,
    load,
)
from tests.support.tables import cases_of, faults_of, table_of


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


RULE = "only a row that expects an error may say so"

FAULTS = [
    # What one field may hold.
    ("input_shape: [3]\nunits: 4\nactivaton: relu", "5:5", "unknown field \"activaton\"; did you mean 'activation'?"),
    ("input_shape: [3]\nunit: 4", "4:5", "unknown field \"unit\"; did you mean 'units'?"),
    ("input_shape: [3]\nunits: 4\nxyzzy: 1", "5:5", 'unknown field "xyzzy"'),
    ("input_shape: [3]\nunits: 4\nexpect: {paramters: [16]}", "5:14", "did you mean 'parameters'?"),
    ("input_shape: [3]", "3:5", "units is missing"),
    ("units: 3", "3:5", "input_shape is missing"),
    ("input_shape: [3]\nunits: 4\nunits: 4", "5:5", "duplicate key 'units', first on line 4"),
    ("input_shape: 3\nunits: 4", "3:18", "input_shape must be a list of up to 8 axes"),
    ("input_shape: [3.0]\nunits: 4", "3:19", "not 3.0"),
    ("input_shape: [-3]\nunits: 4", "3:19", "not -3"),
    ("input_shape: [true]\nunits: 4", "3:19", "not true"),
    ("input_shape: ['3']\nunits: 4", "3:19", 'not "3"'),
    ("input_shape: null\nunits: 4", "3:18", "not null"),
    (f"input_shape: {[1] * 9}\nunits: 4", "3:18", "up to 8 axes"),
    ("input_shape: [3]\nunits: -1", "4:12", "units must be an integer of 0 or more, or a list of them"),
    ("input_shape: [3]\nunits: true", "4:12", "not true"),
    ("input_shape: [3]\nunits: 2.5", "4:12", "not 2.5"),
    ("input_shape: [3]\nunits: 4.0", "4:12", "not 4.0"),
    ("input_shape: [3]\nunits: '4'", "4:12", 'not "4"'),
    ("input_shape: [3]\nunits: null", "4:12", "not null"),
    ("input_shape: [3]\nunits:", "4:5", "not null"),
    ("input_shape: [3]\nunits: []", "4:12", "not []"),
    ("input_shape: [3]\nunits: [4, -1]", "4:16", "not -1"),
    ("input_shape: [3]\nunits: [4, true, -1]", "4:16", "not true"),
    (
        "input_shape: [3]\nunits: 4\nactivation: sofmax",
        "5:17",
        "no such activation: \"sofmax\"; did you mean 'softmax'?",
    ),
    ("input_shape: [3]\nunits: [4, 2]\nactivation: [relu, Relu]", "5:24", "did you mean 'relu'?"),
    ("input_shape: [3]\nunits: 4\nactivation: null", "5:17", "activation must be one of linear, relu"),
    ("input_shape: [3]\nunits: 4\nuse_bias: 1", "5:15", "use_bias must be true or false"),
    ("input_shape: [3]\nunits: 4\nuse_bias: no", "5:15", 'not "no"'),
    ("input_shape: [3]\nunits: 4\ndtype: float", "5:12", "no such dtype"),
    ("input_shape: [3]\nunits: 4\ndtype: 32", "5:12", "dtype must be one of float64, float32, float16, bfloat16"),
    ("input_shape: [3]\nunits: 4\nbatch: -1", "5:12", "batch must be an integer of 0 or more"),
    ("input_shape: [3]\nunits: 4\nbatch: true", "5:12", "not true"),
    ("input_shape: [3]\nunits: 4\nbatch: 2.0", "5:12", "not 2.0"),
    ("input_shape: [3]\nunits: 4\nbatch: []", "5:12", "null for no batch axis, not []"),
    ("input_shape: [3]\nunits: 4\nbatch: [2, false]", "5:16", "not false"),
    (f"input_shape: [3]\nunits: 4\nbatch: {[1] * 9}", "5:12", "a list of 1 to 8 of them"),
    ("input_shape: [3]\nunits: 4\nvalues: exakt", "5:13", "no such lane: \"exakt\"; did you mean 'exact'?"),
    ("input_shape: [3]\nunits: 4\nvalues: []", "5:13", "values must be one of exact, uniform"),
    ("input_shape: [3]\nunits: 4\nvalues: [exact, exact]", "5:13", "exact is named twice"),
    ("input_shape: [3]\nunits: 4\nlayout: strided_", "5:13", "did you mean 'strided'?"),
    ("input_shape: [3]\nunits: 4\ntier: fast", "5:11", 'no such tier: "fast"; there are full, nightly, quick'),
    ("input_shape: [3]\nunits: 4\nchecks: [outputs]", "5:14", "no such check: \"outputs\"; did you mean 'output'?"),
    ("input_shape: [3]\nunits: 4\nchecks: output", "5:13", "checks must be a list of checks"),
    ("input_shape: [3]\nunits: 4\nchecks: []", "5:13", "checks must be a list of checks"),
    ("input_shape: [3]\nunits: 4\nchecks: [output, output]", "5:13", "output is named twice"),
    ("input_shape: [3]\nunits: 4\nfeed_shape: [2, 3.0]", "5:21", "feed_shape must be a list"),
    ("input_shape: [3]\nunits: 4\nfeed_shape: 3", "5:17", "feed_shape must be a list"),
    ("input_shape: [3]\nunits: 4\nfeed_shape: [null, 3]", "5:18", "not null"),
    ("input_shape: [3]\nunits: 4\nfeed_shape: [-2, 3]", "5:18", "not -2"),
    ("input_shape: [3]\nunits: 4\nimplementations: torch", "5:22", "implementations must be a list of globs"),
    ("input_shape: [3]\nunits: 4\nimplementations: []", "5:22", "implementations must be a list of globs"),
    ("input_shape: [3]\nunits: 4\nimplementations: ['']", "5:23", "blank"),
    ("input_shape: [3]\nunits: 4\nid: a b", "5:9", "id must be 1 to 100 of A-Z a-z 0-9 . _ -"),
    ("input_shape: [3]\nunits: 4\nid: <b>", "5:9", "id must be"),
    ("input_shape: [3]\nunits: 4\nid: ../up", "5:9", "id must be"),
    ("input_shape: [3]\nunits: 4\nid: '-rf'", "5:9", "with a letter or digit first"),
    ("input_shape: [3]\nunits: 4\nid: 'é'", "5:9", "id must be"),
    ("input_shape: [3]\nunits: 4\nid: |\n  a", "5:9", "id must be"),
    ("input_shape: [3]\nunits: 4\nid: 5", "5:9", "id must be"),
    (f"input_shape: [3]\nunits: 4\nid: {'a' * 101}", "5:9", "id must be 1 to 100"),
    ("input_shape: [3]\nunits: 4\nwhy: ' '", "5:10", "blank: say something, or leave the field out"),
    ("input_shape: [3]\nunits: 4\nwhy:", "5:5", "empty: say something, or leave the field out"),
    ("input_shape: [3]\nunits: 4\nwhy: 5", "5:10", "why must be text, not 5"),
    ('input_shape: [3]\nunits: 4\nwhy: "a\\u202eb"', "5:10", "U+202E"),
    ('input_shape: [3]\nunits: 4\ntags: [a, "\\e[2J"]', "5:15", "U+001B"),
    ("input_shape: [3]\nunits: 4\nsource: ftp://example.org", "5:13", "is not an http or https link"),
    ("input_shape: [3]\nunits: 4\nsource: javascript:alert(1)", "5:13", "is not an http or https link"),
    ("input_shape: [3]\nunits: 4\nsource: 'https://a b'", "5:13", "is not an http or https link"),
    ("input_shape: [3]\nunits: 4\nsource: https://", "5:13", "is not an http or https link"),
    ("input_shape: [3]\nunits: 4\nexpect: true", "5:13", "expect must be a mapping, not true"),
    ("input_shape: [3]\nunits: 4\nexpect:", "5:5", "empty"),
    ("input_shape: [3]\nunits: 4\nexpect: {error: 1}", "5:21", "error must be true or false"),
    ("input_shape: [3]\nunits: 4\nexpect: {parameters: 16}", "5:26", "parameters must be a list of counts"),
    ("input_shape: [3]\nunits: 4\nexpect: {output_shapes: [4]}", "5:30", "output_shapes must be a list of shapes"),
    # What fields mean together.
    ("input_shape: [3]\nunits: [4, 2]\nactivation: [relu]", "5:17", "activation has 1 entry, units has 2 entries"),
    ("input_shape: [3]\nunits: 4\nactivation: [relu, relu]", "5:17", "activation has 2 entries, units has 1 entry"),
    ("input_shape: [3]\nunits: 4\nactivation: []", "5:17", "activation has 0 entries, units has 1 entry"),
    ("input_shape: [3]\nunits: [4, 2]\nuse_bias: [true]", "5:15", "use_bias has 1 entry, units has 2 entries"),
    ("input_shape: []\nunits: 4", "3:18", f"rank 0 has no last axis; {RULE}"),
    ("input_shape: [4, null]\nunits: 4", "3:22", f"the last axis is unknown; {RULE}"),
    ("input_shape: [null, 4]\nunits: 4", "3:19", "an unknown axis needs a feed_shape that says its length"),
    (
        "input_shape: [3]\nunits: 4\nfeed_shape: [2, 4]",
        "5:21",
        f"the last axis fed is 4, and the layer is built for 3; {RULE}",
    ),
    (
        "input_shape: [3]\nunits: 4\nfeed_shape: [2, 4, 3]",
        "5:17",
        "[2, 4, 3] has 3 axes, and the model is built for 2: batch and input_shape say what it is built for",
    ),
    (
        "input_shape: [5, 3]\nunits: 4\nfeed_shape: [2, 4, 3]",
        "5:21",
        "4 is fed, and the model is built for 5: null in input_shape takes any length",
    ),
    (
        "input_shape: [3]\nunits: 4\nbatch: 7\nfeed_shape: [2, 3]",
        "5:12",
        "contradicts feed_shape, which begins with [2]",
    ),
    (
        "input_shape: [3]\nunits: 4\nbatch: [2, 3]\nfeed_shape: [2, 4, 1]\nexpect: {error: true}",
        "5:12",
        "contradicts feed_shape, which begins with [2, 4]",
    ),
    ("input_shape: [3]\nunits: 4\nfeed_shape: []", "5:17", f"rank 0 is fed, and the layer is built for 3; {RULE}"),
    ("input_shape: [3]\nunits: 4\nexpect: {error: true}", "5:21", "expects an error, and the rule forbids nothing"),
    ("input_shape: [3]\nunits: -4\nexpect: {error: true, parameters: [1]}", "5:13", "expects nothing else"),
    ("input_shape: [3]\nunits: .nan\nexpect: {error: true}", "4:12", "units must be a finite number"),
    ("input_shape: [3]\nunits: [1e999]\nexpect: {error: true}", "4:13", "units must be a finite number"),
    ("input_shape: [3]\nunits: a/b\nexpect: {error: true}", "4:12", "not safe everywhere: give the row an id"),
    ("input_shape: [-3]\nunits: 4\nexpect: {error: true}", "3:19", "not -3"),
    ("input_shape: [784]\nunits: 4\nexpect: {parameters: [3141]}", "5:27", "the rule gives 3140, the row says 3141"),
    ("input_shape: [3]\nunits: [4, 2]\nexpect: {parameters: [16, 11]}", "5:31", "the rule gives 10, the row says 11"),
    ("input_shape: [3]\nunits: 4\nuse_bias: false\nexpect: {parameters: [16]}", "6:27", "the rule gives 12"),
    (
        "input_shape: [3]\nunits: [4, 2]\nexpect: {parameters: [16]}",
        "5:26",
        "the rule gives [16, 10], the row says [16]",
    ),
    ("input_shape: [3]\nunits: [4, 2]\nexpect: {total_parameters: 27}", "5:32", "the rule gives 26, the row says 27"),
    (
        "input_shape: [3]\nunits: 4\nexpect: {output_shape: [4]}",
        "5:28",
        "the rule gives [null, 4], the row says [4]",
    ),
    ("input_shape: [3]\nunits: 4\nbatch: null\nexpect: {output_shape: [null, 4]}", "6:28", "the rule gives [4]"),
    ("input_shape: [3]\nunits: 4\nbatch: [2, 3]\nexpect: {output_shape: [null, 4]}", "6:28", "gives [null, null, 4]"),
    (
        "input_shape: [3]\nunits: [4, 2]\nexpect: {output_shapes: [[null, 4], [null, 3]]}",
        "5:41",
        "the rule gives [null, 2], the row says [null, 3]",
    ),
    ("input_shape: [3]\nunits: [4, 2]\nexpect: {output_shape: [null, 2]}", "5:28", "output_shape is for one layer"),
    (
        "input_shape: [3]\nunits: 4\nexpect: {output_shape: [null, 4], output_shapes: [[null, 4]]}",
        "5:28",
        "output_shape is for one layer",
    ),
    ("input_shape: [3]\nunits: 4\nlayout: transposed", "5:13", "transposed needs 2 axes before the last"),
    ("input_shape: [2, 3]\nunits: 4\nbatch: null\nlayout: transposed", "6:13", "transposed needs 2 axes"),
    ("input_shape: [3]\nunits: 4\nbatch: null\nlayout: broadcast", "6:13", "broadcast needs 1 axes before the last"),
    ("input_shape: [3]\nunits: 4\nchecks: [output, refusal]", "5:22", "refusal is not asked here"),
    ("input_shape: [3]\nunits: -1\nexpect: {error: true}\nchecks: [output]", "6:14", "output is not asked here"),
    ("input_shape: [20000, 20000]\nunits: 4", "3:18", "the input, [2, 20000, 20000], would take more than 1024 MiB"),
    (
        "input_shape: [null, 2]\nunits: 4\nfeed_shape: [2, 900000000, 2]",
        "5:17",
        "the input, [2, 900000000, 2], would take more",
    ),
    ("input_shape: [20000]\nunits: [4, 20000, 20000]", "4:23", "the kernel, [20000, 20000], would take more"),
    ("input_shape: [50000, 1]\nunits: 5000", "4:12", "the output, [2, 50000, 5000], would take more"),
    (f"input_shape: [{10**17}]\nunits: 4", "3:18", "would take more"),
    ("input_shape: [20000, 20000]\nunits: -4\nexpect: {error: true}", "3:18", "would take more"),
    ("input_shape: [1, 1, 1, 1, 1, 1, 1, 1]\nunits: [1, 100000000, 100000000]", "4:27", "the kernel"),
    ("input_shape: [1]\nunits: [" + "1, " * 60 + "1]", "3:5", "makes an id of 129 characters: give the row an id"),
    # Lanes, data and inputs of another dtype.
    ("input_shape: [3]\nunits: 4\nvalues: literal", "5:13", "data is for the lane literal, and that lane for data"),
    ("input_shape: [3]\nunits: 4\nvalues: exact\ndata: {x: 1, kernel: 1, bias: 1}", "6:11", "data is for the lane"),
    ("input_shape: [3]\nunits: 4\nvalues: special", "5:13", "a row with special values says so: expect: {nonfinite"),
    ("input_shape: [3]\nunits: 4\nvalues: wide\nexpect: {nonfinite: true}", "6:25", "on the lane wide everything is"),
    ("input_shape: [3]\nunits: 4\nvalues: wide\nexpect: {nonfinite: 1}", "6:25", "nonfinite must be true or false"),
    (
        "input_shape: [3]\nunits: 4\nvalues: special\nactivation: relu\nexpect: {nonfinite: true}",
        "5:13",
        "special exists for linear layers alone",
    ),
    ("input_shape: [3]\nunits: [4, 2]\nvalues: denormal\nactivation: [linear, tanh]", "5:13", "denormal exists for"),
    ("input_shape: [1]\nunits: 4\nvalues: cancelling\nuse_bias: false", "5:13", "nothing can cancel: a layer without"),
    (
        "input_shape: [3]\nunits: [1, 4]\nvalues: cancelling\nuse_bias: [true, false]",
        "5:13",
        "nothing can cancel: a layer without a bias needs two features",
    ),
    ("input_shape: [3]\nunits: 4\ninput_dtype: float32", "5:18", "the layer's own dtype is float32 already"),
    ("input_shape: [3]\nunits: 4\ninput_dtype: int16", "5:18", "no such dtype: \"int16\"; did you mean 'int64'?"),
    ("input_shape: [3]\nunits: 4\ninput_dtype: int8\nvalues: uniform", "6:13", "int8 holds integers: its lanes are"),
    ("input_shape: [3]\nunits: 4\ninput_dtype: float16\nvalues: wide", "6:13", "wide exists for inputs of the layer's"),
    (
        "input_shape: [3]\nunits: 4\nexpect: {output: 1}",
        "5:22",
        "an output is expected of data, and the row gives none",
    ),
    *(
        (f"input_shape: [2]\nunits: {units}\ndata: {{{data}}}{more}", where, message)
        for units, data, more, where, message in [
            ("3", "kernel: 1, bias: 1", "", "5:11", "x is missing"),
            ("3", "x: 1, bias: 1", "", "5:11", "kernel is missing"),
            ("3", "x: 1, kernel: 1", "", "5:11", "the bias is missing"),
            ("3", "x: 1, kernel: 1, bias: 1", "\nuse_bias: false", "5:35", "a bias is given, and use_bias is false"),
            ("3", "x: [[1, 2]], kernel: 1, bias: 1", "", "5:15", "x has the shape [1, 2], the row needs [2, 2]"),
            ("3", "x: [1, 2], kernel: 1, bias: 1", "", "5:15", "x has the shape [2], the row needs [2, 2]"),
            ("3", "x: 1, kernel: [[1, 2]], bias: 1", "", "5:26", "kernel has the shape [1, 2], the row needs [2, 3]"),
            ("3", "x: 1, kernel: [], bias: 1", "", "5:26", "kernel has the shape [0], the row needs [2, 3]"),
            ("3", "x: 1, kernel: 1, bias: [1, 2]", "", "5:35", "bias has the shape [2], the row needs [3]"),
            ("3", "x: 1, kernel: 1, bias: 1, dy: [1]", "", "5:42", "dy has the shape [1], the row needs [2, 3]"),
            ("3", "x: [[1, 2], [3]], kernel: 1, bias: 1", "", "5:15", "the lists of an array are not of one length"),
            ("3", "x: 1, kernel: [[1, 2, 3], [4]], bias: 1", "", "5:26", "kernel is not [2, 3] throughout"),
            ("2", "x: 1, kernel: [[1, 2], 3], bias: 1", "", "5:26", "kernel is not [2, 2] throughout"),
            ("2", "x: 1, kernel: 1, bias: [1, null]", "", "5:35", "bias is not [2] throughout"),
            ("3", "x: yes, kernel: 1, bias: 1", "", "5:15", '"yes" is not a number, nor a list of them'),
            ("3", "x: [[1, true], [1, 2]], kernel: 1, bias: 1", "", "5:15", "true is not a number"),
            ("3", "x: 1, kernel: {a: 1}, bias: 1", "", "5:26", '{"a": 1} is not a number, nor a list of them'),
            ("3", "x: null, kernel: 1, bias: 1", "", "5:15", "null is not a number"),
            ("3", "x: 1, kernel: 1, bias: 1, dz: 1", "", "5:38", 'unknown field "dz"'),
            ("[3, 1]", "x: 1, kernel: 1, bias: [1, 1]", "", "5:26", "kernel has 1 arrays, units has 2 entries"),
            ("[3, 1]", "x: 1, kernel: [1, 1], bias: [1, 1, 1]", "", "5:40", "bias has 3 arrays, units has 2 entries"),
            (
                "[3, 1]",
                "x: 1, kernel: [1, [[1], [2]]], bias: [1, 1]",
                "",
                "5:30",
                "kernel has the shape [2, 1], the row",
            ),
            ("[3, 1]", "x: 1, kernel: [1, null], bias: [1, 1]", "", "5:30", "kernel is missing"),
            ("[3, 1]", "x: 1, kernel: [1, 1], bias: [1, null]", "", "5:11", "the bias is missing"),
            (
                "3",
                "x: 1, kernel: 1, bias: 1",
                "\nexpect: {output: [1, 2, 3]}",
                "6:22",
                "output has the shape [3], the row",
            ),
            ("3", "x: 1, kernel: 1, bias: 1", "\nexpect: {output: x}", "6:22", '"x" is not a number'),
            (
                "3",
                "x: 0.5, kernel: 1, bias: 1",
                "\ninput_dtype: int8",
                "5:15",
                "x holds 0.5, and an input of int8 cannot",
            ),
            ("3", "x: -1, kernel: 1, bias: 1", "\ninput_dtype: uint8", "5:15", "x holds -1.0, and an input of uint8"),
            (
                "3",
                "x: 2, kernel: 1, bias: 1",
                "\ninput_dtype: bool",
                "5:15",
                "x holds 2.0, and an input of bool cannot",
            ),
            (
                "3",
                "x: .inf, kernel: 1, bias: 1",
                "\ninput_dtype: int64",
                "5:15",
                "x holds Infinity, and an input of int64",
            ),
        ]
    ),
    # Families.
    ("input_shape: [3]\nunits: 4\neach: [1]", "5:11", "each must be a mapping of fields"),
    ("input_shape: [3]\nunits: 4\neach:", "5:5", "empty"),
    ("input_shape: [3]\nunits: 4\neach: {}", "5:11", "each is empty: leave it out"),
    ("input_shape: [3]\nunits: 4\neach: {dtype: float32}", "5:19", "each must be a mapping of fields, each to a list"),
    ("input_shape: [3]\nunits: 4\neach: {dtype: []}", "5:19", "each must be a mapping of fields, each to a list"),
    ("input_shape: [3]\nunits: 4\neach: {dtyp: [float32, float64]}", "5:12", "did you mean 'dtype'?"),
    ("input_shape: [3]\nunits: 4\neach: {dtype: [float32, float46], batch: [1, 2]}", "5:29", "did you mean 'float64'?"),
    ("input_shape: [3]\nunits: 4\neach: {units: [3, 5]}", "5:12", "units is given by the row as well"),
    ("input_shape: [3]\nunits: 4\neach: {id: [a, b]}", "5:12", "id belongs to one row: each cannot vary it"),
    ("input_shape: [3]\nunits: 4\nid: a\neach: {batch: [1, 2]}", "5:5", "an id names one row, and each makes many"),
    ("input_shape: [3]\nunits: 4\neach: {batch: [1, 1]}", "3:5", "asks the same question as t.yaml:3"),
    (
        "input_shape: [3]\nunits: 4\neach: {" + ", ".join(f"{name}: {list(range(40))}" for name in "abcdef") + "}",
        "5:11",
        "each makes 4096000000 rows of one, more than 1000",
    ),
]


@pytest.mark.parametrize(
    ("row", "where", "message"), FAULTS, ids=[f"{message[:40]} {i}" for i, (_, _, message) in enumerate(FAULTS)]
)
def test_a_planted_fault_is_the_only_one_and_is_found_where_it_is(row: str, where: str, message: str) -> None:
    (fault,) = faults_of(
        table_of("input_shape: [99]\nunits: 98", row).replace("  - input_shape: [99]\n    units: 98\n", "")
    )
    found, _, said = fault.partition(": ")
    assert (found, message in said) == (where, True), fault


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        ("", "1:1", "empty file"),
        ("rows: [\n", "2:1", "not YAML"),
        (b"rows:\n  - \xff", "2:5", "not UTF-8"),
        ("rows:\n\t- a: 1\n", "2:1", "a tab"),
        ("a: &a [x]\nb: [*a, *a]\nrows: []\n", "1:4", "an anchor"),
        ("rows: !!python/object:os.system []\n", "1:7", "a tag"),
        ("rows: []\n---\nrows: []\n", "2:1", "a second document"),
        ("rows: []\n", "1:7", "rows must be a list of rows, each a mapping, not []"),
        ("rows:\n", "1:1", "rows must be a list of rows"),
        ("rows: {a: 1}\n", "1:7", "rows must be a list of rows"),
        ("rows: [1]\n", "1:8", "rows must be a list of rows, each a mapping, not 1"),
        ("description: x\n", "1:1", "rows is missing"),
        ("- a\n", "1:1", "this must be a mapping"),
        ("text\n", "1:1", "this must be a mapping"),
        ("rowz:\n  - input_shape: [3]\n    units: 4\n", "1:1", "did you mean 'rows'?"),
        (table_of("input_shape: [3]\nunits: 4", head="default: {}\n"), "2:1", "did you mean 'defaults'?"),
        (table_of("input_shape: [3]\nunits: 4", head="defaults: []\n"), "2:11", "defaults must be a mapping"),
        (table_of("input_shape: [3]\nunits: 4", head="defaults:\n"), "2:1", "empty"),
        (table_of("input_shape: [3]\nunits: 4", head="defaults: {id: x}\n"), "2:12", "id belongs to one row"),
        (
            table_of("input_shape: [3]\nunits: 4", head="defaults: {each: {batch: [1]}}\n"),
            "2:12",
            "each belongs to one",
        ),
        (
            table_of("input_shape: [3]\nunits: 4", "input_shape: [5]\nunits: 4", head="defaults: {teir: full}\n"),
            "2:12",
            "'tier'",
        ),
        (
            table_of("input_shape: [3]\nunits: 4", "input_shape: [5]\nunits: 4", head="defaults: {tier: ful}\n"),
            "2:18",
            "'full'",
        ),
        ("description: 5\nrows:\n  - {input_shape: [3], units: 4}\n", "1:14", "description must be text"),
        ("description: ''\nrows:\n  - {input_shape: [3], units: 4}\n", "1:14", "blank"),
    ],
)
def test_a_file_that_is_no_table(content: str | bytes, where: str, message: str) -> None:
    (fault,) = faults_of(content)
    assert fault.startswith(f"{where}: "), fault
    assert message in fault


def test_two_rows_that_ask_the_same_question() -> None:
    first = "input_shape: [3]\nunits: [4]\nactivation: [relu]\nid: a\nwhy: The first.\ntier: quick"
    second = "input_shape: [3]\nunits: 4\nactivation: relu\nchecks: [output]"
    assert faults_of(table_of(first, second)) == ["9:5: asks the same question as t.yaml:3"]


def test_rows_that_differ_in_one_way_are_not_duplicates() -> None:
    rows = ["units: 4", "units: 1", "units: 4\nuse_bias: false", "units: 4\nbatch: 1", "units: 4\nbatch: [1]"]
    rows += ["units: 4\nfeed_shape: [3, 1]", "units: true\nexpect: {error: true}"]
    cases = cases_of(*[f"input_shape: [1]\n{row}\nid: id{index}" for index, row in enumerate(rows)])
    assert len(cases) == 2 * len(rows) - 1


def test_two_files_that_ask_the_same_question(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text(table_of("input_shape: [3]\nunits: 4"), encoding="utf-8")
    assert lint([Path("b.yaml"), Path("a.yaml")]) == (Fault("a.yaml", 3, 5, "asks the same question as b.yaml:3"),)
    assert lint([Path("a.yaml"), Path("./a.yaml"), tmp_path / "a.yaml"]) == ()


def test_two_questions_of_one_id() -> None:
    rows = ["input_shape: [3]\nunits: 4\nid: a", "input_shape: [5]\nunits: 4\nid: a\nvalues: exact"]
    assert faults_of(table_of(*rows)) == ["6:5: the id a-exact is taken by t.yaml:3"]
    rows = ["input_shape: [3]\nunits: 4", "input_shape: [5]\nunits: 4\nid: 3-4\nvalues: exact"]
    assert faults_of(table_of(*rows)) == ["5:5: the id 3-4-exact is taken by t.yaml:3"]


def test_all_faults_of_all_files_are_said_at_once(tmp_path: Path) -> None:
    Path("a.yaml").write_text(table_of("input_shape: [3]\nunits: -4\ntier: ful\nwhy: ''", "input_shape: [3]"), "utf-8")
    Path("b.yaml").write_text("rows: [\n", encoding="utf-8")
    Path("c.yaml").write_text(table_of("input_shape: [3]\nunits: 4\nunits: 5\nexpect: {parameters: [17]}"), "utf-8")
    with pytest.raises(TableError) as error:
        load([Path("c.yaml"), Path("missing.yaml"), Path("a.yaml"), Path("b.yaml")])
    places = [(fault.file, fault.line, fault.column) for fault in error.value.faults]
    assert places == [
        *[("a.yaml", line, column) for line, column in ((4, 12), (5, 11), (6, 10), (7, 5))],
        ("b.yaml", 2, 1),
        *[("c.yaml", line, column) for line, column in ((5, 5), (6, 27))],
        ("missing.yaml", 1, 1),
    ]
    assert str(error.value).splitlines() == list(map(str, error.value.faults))
    assert error.value.faults == lint([Path(f"{name}.yaml") for name in ("a", "b", "c", "missing")])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ("[" * 27 + "1" + "]" * 27, "the row needs [2, 2]"),
        ("[" * 60 + "1" + "]" * 60, "nested more than 32 deep"),
        ("[" + "1, " * 200_000 + "1]", "x has the shape [200001], the row needs [2, 2]"),
        ("[" + "[], " * 100_000 + "[1]]", "the lists of an array are not of one length"),
        ("1e999", None),
        ("[[.nan, -.inf], [1, 2]]", None),
        ("9" * 400, "an integer of more than"),
        ("nan", '"nan" is not a number'),
    ],
    ids=["deep", "deeper", "long", "ragged", "too large", "not finite", "digits", "word"],
)
def test_an_array_however_nasty_is_told_in_a_line_and_soon(array: str, message: str | None) -> None:
    started = time.process_time()
    faults = faults_of(table_of(f"input_shape: [2]\nunits: 3\ndata: {{x: {array}, kernel: 1, bias: 1}}"))
    assert time.process_time() - started < 20.0
    if message is None:
        # What is not finite is a number: whether the answer may be is for its values to show.
        assert faults == []
    else:
        (fault,) = faults
        assert message in fault
        assert len(fault) < 300
