"""Mutations of what becomes of findings: the ledger, outcomes, and what a results file counts."""

from __future__ import annotations

from typing import Final

from tests.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "settlement",
        (
            "another cell's entries",
            "if each.covers(implementation=implementation, case=case, device=device, versions=versions, cpu=cpu)",
            "if True",
            "settlement::an_entry_excuses_the_cells_it_covers_alone",
        ),
        (
            "a crash without its entry",
            "if known is None:\n            return Settled",
            "if False:\n            return Settled",
            "settlement::a_crash_is_known_by_how_it_ended",
        ),
        (
            "a time-out is a crash",
            '"timed_out" if timed_out else "crashed"',
            '"crashed"',
            "settlement::a_time_out_is_not_a_crash",
        ),
        (
            "all checks diverge with an ending",
            'if each["outcome"] == "violates" else each for each in checks',
            "for each in checks",
            "settlement::what_conforms_before_a_known_crash_stays_as_it_was",
        ),
        (
            "an entry excuses every check",
            'if not entry.checks or each["check"] in entry.checks',
            "if True",
            "settlement::an_observation_is_known_of_the_check_it_is_named_for_alone",
        ),
        (
            "an entry of no check excuses none",
            'if not entry.checks or each["check"] in entry.checks',
            'if each["check"] in entry.checks',
            "settlement::a_build_that_raises_takes_every_check_along",
        ),
        (
            "an ending that went away conforms",
            "settled += [_gone(entry) for entry in endings]",
            "pass",
            "settlement::a_crash_that_went_away_violates",
        ),
        (
            "the best check is the outcome",
            "for outcome in _CHECK_OUTCOMES if outcome in outcomes",
            "for outcome in reversed(_CHECK_OUTCOMES) if outcome in outcomes",
            "settlement::the_worst_check_is_the_outcome",
        ),
        (
            "a divergence hides a violation",
            '("violates", "diverges", "conforms")',
            '("diverges", "violates", "conforms")',
            "settlement::an_entry_excuses_the_checks_it_names_alone",
        ),
        (
            "any reason of a crash",
            'and entry.observed.reason in crash["reason"]\n',
            "\n",
            "settlement::a_crash_is_known_by_how_it_ended",
        ),
        (
            "the entry of a crash covers a time-out",
            "known = None if timed_out else next(",
            "known = next(",
            "settlement::a_time_out_is_not_a_crash",
        ),
        (
            "a crash's entry excuses a check",
            "entries = [each for each in entries if not isinstance(each.observed, Crash)]",
            "pass",
            "settlement::an_entry_of_a_crash_says_nothing_of_checks",
        ),
        (
            "a divergence that went away conforms",
            'return {**check, "outcome": "violates", "message": _gone',
            'return {**check, "message": _gone',
            "settlement::a_divergence_that_went_away_violates",
        ),
        (
            "any observation is the asserted one",
            "if observed_so(each, check)), None)",
            "), None)",
            "settlement::another_observation_than_the_asserted_one_violates_and_names_the_entry",
        ),
        (
            "the first entry alone",
            "next((each for each in entries if observed_so(each, check)), None)",
            "next((each for each in entries[:1] if observed_so(each, check)), None)",
            "settlement::any_entry_of_several_may_be_the_one_that_knows",
        ),
        (
            "any exception",
            'and (raised["stage"], raised["type"]) == (stage, kind)',
            "",
            "settlement::another_observation_than_the_asserted_one_violates_and_names_the_entry",
        ),
        (
            "any type",
            '(raised["stage"], raised["type"]) == (stage, kind)',
            'raised["stage"] == stage',
            "settlement::another_observation_than_the_asserted_one_violates_and_names_the_entry",
        ),
        (
            "a margin of any size",
            "low <= float(margin) <= high",
            "low <= float(margin)",
            "settlement::an_error_is_known_by_its_order_of_magnitude",
        ),
        (
            "a margin below its least",
            "low <= float(margin) <= high",
            "low < float(margin) <= high",
            "settlement::an_error_is_known_by_its_order_of_magnitude",
        ),
        (
            "no margin is any",
            "return margin is not None and low",
            "return margin is None or low",
            "settlement::an_error_is_known_by_its_order_of_magnitude",
        ),
        (
            "any message",
            'return part in check.get("message", "")',
            "return True",
            "settlement::a_message_is_known_by_a_part",
        ),
        (
            "any value",
            'return bool(finite(check.get("observed")) == value)',
            "return True",
            "settlement::another_observation_than_the_asserted_one_violates_and_names_the_entry",
        ),
        (
            "unsupported is gone",
            'or check["outcome"] == "unsupported":',
            ":",
            "settlement::an_entry_leaves_a_check_that_is_not_supported_alone",
        ),
        (
            "one check unsupported is all",
            'if outcome in outcomes), "unsupported")',
            'if outcome in outcomes and "unsupported" not in outcomes), "unsupported")',
            "settlement::the_worst_check_is_the_outcome",
        ),
    ),
    *of(
        "entry",
        (
            "a part of an implementation's name",
            "self._implementations.fullmatch(implementation)",
            "self._implementations.search(implementation)",
            "ledger::an_entry_covers_what_its_globs_match_from_end_to_end",
        ),
        (
            "a part of a case's id",
            "self._cases.fullmatch(case)",
            "self._cases.search(case)",
            "ledger::a_glob_of_cases_begins_where_an_id_does",
        ),
        (
            "excepted cases",
            "and self._excepted.fullmatch(case) is None",
            "",
            "ledger::excepted_cases_are_not_covered",
        ),
        (
            "on every device",
            "and (self.devices is None or device in self.devices)",
            "",
            "ledger::a_name_is_not_its_modes_and_devices_are_names",
        ),
        (
            "on every processor",
            "and (cpu is None or set(self.cpu) <= cpu)",
            "",
            "ledger::an_entry_lapses_on_a_processor_it_is_not_about",
        ),
        (
            "with every version",
            "name not in (versions or {}) or wanted.contains((versions or {})[name], prereleases=True)",
            "True",
            "ledger::an_entry_lapses_with_versions_it_is_not_about",
        ),
    ),
    *of(
        "suite",
        (
            "the best draw is the outcome",
            'if worst is None or OUTCOMES.index(judged["outcome"]) < OUTCOMES',
            'if worst is None or OUTCOMES.index(judged["outcome"]) > OUTCOMES',
            "suite::the_worst_of_several_draws_is_the_outcome",
        ),
        (
            "the first draw is the outcome",
            'if worst is None or OUTCOMES.index(judged["outcome"]) < OUTCOMES.index(worst["outcome"]):',
            "if worst is None:",
            "suite::the_worst_of_several_draws_is_the_outcome",
        ),
        (
            "an outcome that is not known passes",
            "if outcome != CONFORMS:\n        pytest.fail",
            "if outcome == VIOLATES:\n        pytest.fail",
            "suite::only_what_conforms_passes",
        ),
    ),
    *of(
        "judging",
        (
            "missing evidence is no finding",
            "            yield missing.finding\n",
            "            continue\n",
            "checks::missing_evidence_violates",
        ),
        (
            "excused without a reason",
            "if finding.declined is None or reason is None:",
            "if finding.declined is None:",
            "suite::what_is_declined_is_unsupported_where_the_registry_says_why_alone",
        ),
        (
            "needed where it is not",
            "found.outcome == CONFORMS != without.outcome",
            "found.outcome == CONFORMS",
            "short_formats::what_the_registry_declares_is_on_the_record",
        ),
        (
            "the row's output not handed on",
            "checks.check_output(evidence, asked.outputs, asked.expected)",
            "checks.check_output(evidence, asked.outputs)",
            "suite::the_output_a_row_gives_is_held_to_the_reference",
        ),
        (
            "old weights for new",
            "for label, each in asked.outputs.items() if label in asked.after}",
            "for label, each in asked.outputs.items() if label not in asked.after}",
            "checks::a_changed_answer_turns_its_checks_red",
        ),
        (
            "a finding is unsupported",
            "return replace(finding, outcome=UNSUPPORTED, message=reason)",
            "return replace(finding, outcome=CONFORMS, message=reason)",
            "suite::what_is_declined_is_unsupported_where_the_registry_says_why_alone",
        ),
    ),
    *of(
        "results",
        (
            "cells without a line are not counted",
            'counted["not_run"] += max(0, int(self.header.get("cells", 0)) - len(self.cells))',
            "pass",
            "results::cells_without_a_line_count_as_not_run",
        ),
        (
            "more cells than announced",
            "max(0, int(self.header",
            "(int(self.header",
            "results::more_lines_than_announced_take_nothing_away",
        ),
        (
            "no cell is not run",
            'counted["not_run"] += max',
            'counted["not_run"] = max',
            "results::the_footer_names_every_outcome_and_adds_up_to_the_cells",
        ),
        (
            "a footer is complete",
            'self.footer is not None and bool(self.footer.get("complete"))',
            "self.footer is not None",
            "results::a_run_is_complete_only_where_its_footer_says_so",
        ),
        (
            "each outcome counts once",
            'self.counts[record["outcome"]] += 1',
            'self.counts[record["outcome"]] = 1',
            "results::the_footer_names_every_outcome_and_adds_up_to_the_cells",
        ),
        (
            "NaN alone is a string",
            "not math.isfinite(value):",
            "math.isnan(value):",
            "results::numbers_that_are_not_finite_are_strings_and_all_others_are_exact",
        ),
        (
            "a line cut in the middle is an error",
            'if not line.endswith(b"\\n"):',
            'if line.endswith(b"\\n"):',
            "results::a_file_cut_at_any_byte_reads_as_far_as_its_last_whole_line",
        ),
        ("any schema", "if schema != SCHEMA:", "if False:", "results::what_cannot_be_read_is_said_with_file_and_line"),
    ),
)
