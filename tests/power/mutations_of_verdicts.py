"""Mutations of verdicts and outcomes."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "checks.verdict",
        (
            "of behaviours that explain a cell the last is named",
            "if self._conforms(judged, declared):",
            "if True:",
            "verdict::of_behaviours_that_explain_a_cell_alone_one_is_named_and_none_that_it_does_not_show",
        ),
        (
            "any behaviour covers",
            "each for each in behaviours if any(each.covered_layers(step, surroundings, case) for step in steps)",
            "each for each in behaviours",
            "verdict::a_behaviour_excuses_the_steps_it_covers_alone",
        ),
        (
            "the rule is not asked",
            "        if self._conforms(under_rule, self._rule):",
            "        if False:",
            "verdict::an_answer_by_the_rule_conforms_where_nothing_is_declared",
        ),
        (
            "nothing holds as declared",
            "        if self._conforms(found, declared):\n            return self._diverges",
            "        if False:\n            return self._diverges",
            "verdict::what_is_as_declared_diverges_and_names_the_behaviour_and_its_entry",
        ),
        (
            "everything holds as declared",
            "        if self._conforms(found, declared):\n            return self._diverges",
            "        if True:\n            return self._diverges",
            "verdict::one_more_fault_than_declared_stays_red_and_the_declared_is_reported_as_near",
        ),
        (
            "none is gone beside another",
            "            if fewer is not None:",
            "            if False:",
            "gone_behaviours::one_of_two_behaviours_may_be_gone_while_the_other_occurs",
        ),
        (
            "what nothing needs is named",
            "                found = fewer\n                continue",
            "                continue",
            "verdict::a_behaviour_that_nothing_needs_is_not_named",
        ),
        (
            "what every check needs is named of each",
            "needed.get(each.check) or named)}",
            "named)}",
            "verdict::behaviours_that_cover_one_step_are_applied_together_and_each_is_named",
        ),
        (
            "the worst is told as declared",
            "            if rule.outcome == VIOLATES != other.outcome:",
            "            if rule.outcome == VIOLATES:",
            "verdict::a_cell_may_have_a_known_check_and_a_new_one",
        ),
        (
            "what fails as declared alone is told as the rule says",
            "            elif other.outcome == VIOLATES:",
            "            elif rule.outcome == VIOLATES:",
            "verdict::an_answer_partly_as_declared_and_partly_by_the_rule_is_red_where_the_declared_fails",
        ),
        (
            "nothing is near",
            "        if not self.covering:\n            return finding.record()",
            "        if True:\n            return finding.record()",
            "verdict::one_more_fault_than_declared_stays_red_and_the_declared_is_reported_as_near",
        ),
        (
            "a crash beside a violation",
            "        if self._transcript.crash is None or self._evidence(declared).crashed_as_declared:",
            "        if crash is None:",
            "declared_endings::every_answer_before_a_crash_that_is_declared_is_judged",
        ),
        (
            "what holds sometimes is gone",
            "if each.instead.widens_only or each.sometimes is not None:",
            "if each.instead.widens_only:",
            "gone_behaviours::a_behaviour_under_sometimes_is_never_gone",
        ),
        (
            "accepting is never gone",
            "            return True  # the cell conforms",
            "            return False  # the cell conforms",
            "gone_behaviours::a_refusal_as_required_shows_that_accepting_is_gone",
        ),
        (
            "what was not answered says that it is gone",
            "if reply is None or isinstance(reply.answer, NoValue):",
            "if False:",
            "gone_behaviours::a_declined_step_shows_nothing_and_a_check_without_it_is_not_the_outcome",
        ),
        (
            "any other step says that it is gone",
            "return are_disjoint(step, self._rule.of(step.label), declared.of(step.label))",
            "return True",
            "gone_behaviours::a_cell_that_both_allow_shows_nothing_to_be_gone",
        ),
        (
            "nothing is gone",
            "return are_disjoint(step, self._rule.of(step.label), declared.of(step.label))",
            "return False",
            "gone_behaviours::a_cell_that_conforms_on_a_decisive_step_shows_the_behaviour_to_be_gone",
        ),
        (
            "any crash as declared",
            "            return any(signal in crash.reason for signal in expectation.crashes)",
            "            return True",
            "declared_endings::a_crash_may_come_sometimes",
        ),
        (
            "outputs are held to the rule alone",
            "                output = declared.y\n",
            "                output = self._rule.output(label)\n",
            "gone_behaviours::an_answer_under_sometimes_is_by_the_rule_or_as_declared_and_nothing_in_between",
        ),
        (
            "a crash is no ending",
            "        ended = self._transcript.crash is not None and not",
            "        ended = False and not",
            "declared_endings::a_crash_at_a_step_that_no_check_looks_at_is_one",
        ),
        (
            "one check holds",
            "return not ended and all(each.outcome != VIOLATES",
            "return not ended and any(each.outcome != VIOLATES",
            "verdict::what_is_as_declared_diverges_and_names_the_behaviour_and_its_entry",
        ),
    ),
    *of(
        "checks.outcome",
        (
            "one check that is unsupported is the outcome",
            "    found = set(outcomes)\n",
            "    found = set(outcomes)\n    if 'unsupported' in found:\n        return 'unsupported'\n",
            "gone_behaviours::a_declined_step_shows_nothing_and_a_check_without_it_is_not_the_outcome",
        ),
        (
            "wide bounds have power",
            "min(self.widths.values()) < _POWERLESS",
            "min(self.widths.values()) < 1e9",
            "verdict::a_record_has_the_width_of_the_bounds_and_marks_those_without_power",
        ),
    ),
    *of(
        "checks.outcome",
        (
            "a time-out is a crash",
            '"timed_out" if transcript.timed_out else "crashed"',
            '"crashed"',
            "declared_endings::a_time_out_is_no_crash",
        ),
    ),
)
