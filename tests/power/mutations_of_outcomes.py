"""Mutations of what becomes of verdicts: the outcome of a cell, and what a results file counts."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "run.runner",
        (
            "an outcome that is not known passes",
            "if record.outcome != CONFORMS:\n        pytest.fail",
            'if record.outcome == "violates":\n        pytest.fail',
            "runner::only_a_conforming_cell_passes",
        ),
    ),
    *of(
        "results.file",
        (
            "cells without a line are not counted",
            'counted["not_run"] += max(0, self.header.cells - len(self.cells))',
            "pass",
            "results::cells_without_a_line_count_as_not_run",
        ),
        (
            "more cells than announced",
            "max(0, self.header.cells - len(self.cells))",
            "(self.header.cells - len(self.cells))",
            "results::more_lines_than_announced_are_all_counted",
        ),
        (
            "no cell is not run",
            'counted["not_run"] += max',
            'counted["not_run"] = max',
            "results::the_footer_names_every_outcome_and_adds_up_to_the_cells",
        ),
        (
            "a footer is complete",
            "self.footer is not None and self.footer.complete",
            "self.footer is not None",
            "results::a_run_is_complete_only_with_a_complete_footer",
        ),
        (
            "each outcome counts once",
            "self.counts[record.outcome] += 1",
            "self.counts[record.outcome] = 1",
            "results::the_footer_names_every_outcome_and_adds_up_to_the_cells",
        ),
        (
            "a line cut in the middle is an error",
            'if not line.endswith(b"\\n"):',
            'if line.endswith(b"\\n"):',
            "results::a_file_cut_at_any_byte_reads_as_far_as_its_last_whole_line",
        ),
        (
            "any schema",
            "if schema != SCHEMA:",
            "if False:",
            "results::a_fault_of_a_file_is_reported_with_file_and_line",
        ),
    ),
    *of(
        "results.codec",
        (
            "NaN alone is a string",
            "not math.isfinite(value):",
            "math.isnan(value):",
            "results::numbers_that_are_not_finite_are_strings_and_all_others_are_exact",
        ),
        (
            "fields of another version are lost",
            "        content.update(rest)",
            "        pass",
            "record::fields_of_another_version_are_read_and_written_again",
        ),
        (
            "fields of another version are lost from parts",
            "        if name in inner:\n            _move_to_rest_within",
            "        if False:\n            _move_to_rest_within",
            "record::fields_of_another_version_are_read_and_written_again",
        ),
        (
            "an outcome that nobody knows is not told",
            'rest.setdefault("outcome", None)',
            'rest.pop("outcome", None)',
            "record::a_field_that_does_not_fit_its_type_stays_in_rest",
        ),
    ),
    *of(
        "run.cell_runner",
        (
            "the best draw is the outcome",
            "if worst is None or OUTCOMES.index(record.outcome) < OUTCOMES",
            "if worst is None or OUTCOMES.index(record.outcome) > OUTCOMES",
            "runner::the_worst_of_several_draws_is_the_outcome",
        ),
        (
            "the first draw is the outcome",
            "if worst is None or OUTCOMES.index(record.outcome) < OUTCOMES.index(worst.outcome):",
            "if worst is None:",
            "runner::the_worst_of_several_draws_is_the_outcome",
        ),
    ),
)
