"""Shards: each cell in one, none much longer than another, and nearly all in place when the table changes."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.run.sharding import parts

START = 3.0


def shared(processes: Mapping[str, Mapping[str, float]], count: int, start: float = START) -> dict[str, int]:
    """Return the parts of cells whose seconds are given."""
    seconds = {name: took for cells in processes.values() for name, took in cells.items()}
    return parts({k: list(v) for k, v in processes.items()}, count, start=lambda _: start, cell=seconds.__getitem__)


def loads(processes: Mapping[str, Mapping[str, float]], found: Mapping[str, int], count: int) -> list[float]:
    """Return how long each part takes, starts included."""
    return [
        sum(
            START + sum(took for name, took in cells.items() if found[name] == part)
            for cells in processes.values()
            if any(found[name] == part for name in cells)
        )
        for part in range(count)
    ]


def a_run(implementations: int, cases: int, seed: int = 1) -> dict[str, dict[str, float]]:
    """Return made-up cells: most alike, some a hundred times as long, implementations of different speed."""
    generator = random.Random(seed)
    slow = {case: generator.choice([1.0] * 19 + [60.0]) for case in range(cases)}
    return {
        f"implementation{i}": {f"cpu/implementation{i}/case{c}": 0.02 * (1 + i % 4) * slow[c] for c in range(cases)}
        for i in range(implementations)
    }


PROCESSES = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.dictionaries(st.text("xyz", min_size=1, max_size=4), st.floats(0, 50), max_size=12),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(PROCESSES, st.integers(1, 7), st.floats(0, 10))
def test_each_cell_is_in_one_part_whatever_there_is(
    made: dict[str, dict[str, float]], count: int, start: float
) -> None:
    named = {name: {f"{name}/{cell}": took for cell, took in cells.items()} for name, cells in made.items()}
    found = shared(named, count, start)
    assert found.keys() == {cell for cells in named.values() for cell in cells}
    assert set(found.values()) <= set(range(count))
    # The order in which things are named plays no part.
    backwards = {name: dict(reversed(cells.items())) for name, cells in reversed(named.items())}
    assert shared(backwards, count, start) == found


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_parts_take_equally_long_and_processes_stay_together(count: int) -> None:
    made = a_run(implementations=12, cases=400)
    found = shared(made, count)
    taken = loads(made, found, count)
    assert max(taken) <= 1.05 * sum(taken) / count
    starts = sum(len({found[name] for name in cells}) for cells in made.values())
    assert starts <= 12 + count - 1


def test_parts_by_count_alone_would_not_be_equal() -> None:
    """What the test above is worth: dealt out by a hash, as it was, one part takes half as long again as another."""
    made = a_run(implementations=12, cases=400)
    dealt = {name: hash_of % 4 for cells in made.values() for name, hash_of in _hashes(cells)}
    taken = loads(made, dealt, 4)
    assert max(taken) > 1.2 * sum(loads(made, shared(made, 4), 4)) / 4


def _hashes(cells: Mapping[str, float]) -> list[tuple[str, int]]:
    generator = random.Random(7)
    return [(name, generator.getrandbits(32)) for name in cells]


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_row_more_or_less_moves_few_cells(count: int) -> None:
    made = a_run(implementations=12, cases=400)
    before = shared(made, count)
    moved = []
    for case in range(0, 400, 40):
        fewer = {
            name: {k: v for k, v in cells.items() if not k.endswith(f"/case{case}")} for name, cells in made.items()
        }
        after = shared(fewer, count)
        moved.append(sum(before[name] != part for name, part in after.items()) / len(after))
    assert max(moved) <= 0.03


def test_a_short_run_starts_no_process_twice() -> None:
    made = {name: {f"{name}/{i}": 0.01 for i in range(10)} for name in ("one", "two", "three")}
    assert len(set(shared(made, 3).values())) == 3
    for cells in made.values():
        assert len({shared(made, 3)[name] for name in cells}) == 1
