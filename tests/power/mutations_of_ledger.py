"""Mutations of the ledger: which steps a behaviour covers, and what is expected under it."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "ledger.behaviour",
        (
            "a part of an implementation's name",
            "self._implementations.fullmatch(implementation)",
            "self._implementations.search(implementation)",
            "ledger::a_behaviour_is_one_of_the_implementations_that_its_globs_match_from_end_to_end",
        ),
        (
            "another case's elements",
            "if exactly is not None and (exactly.case, exactly.step) != (case, step.label):",
            "if exactly is not None and exactly.step != step.label:",
            "predicate::elements_that_are_given_are_those_of_one_step_of_one_case",
        ),
        (
            "another step's elements",
            "if exactly is not None and (exactly.case, exactly.step) != (case, step.label):",
            "if exactly is not None and exactly.case != case:",
            "predicate::elements_that_are_given_are_those_of_one_step_of_one_case",
        ),
        (
            "in any environment",
            "if self.when.matches_surroundings(surroundings) else frozenset()",
            "if True else frozenset()",
            "predicate::what_a_predicate_covers",
        ),
        (
            "any exception",
            "return type_name == self.type and re",
            "return re",
            "ledger::a_refusal_is_known_by_its_type_and_the_parts_of_its_message_in_order",
        ),
        (
            "any message",
            "return type_name == self.type and re.search(pattern, message, re.DOTALL) is not None",
            "return type_name == self.type",
            "ledger::a_refusal_is_known_by_its_type_and_the_parts_of_its_message_in_order",
        ),
        (
            "a message of one line",
            ", re.DOTALL)",
            ")",
            "ledger::a_refusal_is_known_by_its_type_and_the_parts_of_its_message_in_order",
        ),
        (
            "parts of a message are patterns",
            '".*?".join(map(re.escape, self.message))',
            '".*?".join(self.message)',
            "ledger::a_part_of_a_message_is_text_and_no_pattern",
        ),
        (
            "a crash is an answer",
            "return self.refuses is not None or bool(self.crashes)",
            "return self.refuses is not None",
            "ledger::what_leaves_room_for_the_right_answer_and_what_for_none",
        ),
        (
            "another dtype leaves room",
            "return not any(others) and self.deviation.widens_only",
            "return self.deviation.widens_only",
            "ledger::what_leaves_room_for_the_right_answer_and_what_for_none",
        ),
        (
            "another value leaves room",
            "return not any(others) and self.deviation.widens_only",
            "return not any(others)",
            "ledger::what_leaves_room_for_the_right_answer_and_what_for_none",
        ),
    ),
    *of(
        "ledger.predicate",
        (
            "on every machine",
            "if not all(matches(pattern, getattr(surroundings, name)) for name, pattern in self.machine.items()):",
            "if False:",
            "predicate::what_a_predicate_covers",
        ),
        (
            "in every environment",
            "if not all(matches(pattern, environment.get(name)) for name, pattern in self.environment.items()):",
            "if False:",
            "predicate::what_a_predicate_covers",
        ),
        (
            "with every version",
            "return all(specifier.contains(version, prereleases=True)",
            "return True or all(specifier.contains(version, prereleases=True)",
            "predicate::what_a_predicate_covers",
        ),
        (
            "no version before its release",
            "prereleases=True",
            "prereleases=False",
            "predicate::what_a_predicate_covers",
        ),
        (
            "at every step",
            "if not all(_has(step.facts[name], pattern) for name, pattern in self.step.items()):",
            "if False:",
            "predicate::what_a_predicate_covers",
        ),
        (
            "with any input",
            "if facts is None or not all(matches(pattern, facts[name]) for name, pattern in self.input.items()):",
            "if facts is None:",
            "predicate::what_a_predicate_covers",
        ),
        (
            "one field of a layer",
            "if all(matches(each, facts[name]) for name, each in self.layers.items())",
            "if not self.layers or any(matches(each, facts[name]) for name, each in self.layers.items())",
            "predicate::what_a_predicate_covers",
        ),
        (
            "one field of a shape",
            "return all(matches(each, fact[name]) for name, each in pattern.items())",
            "return any(matches(each, fact[name]) for name, each in pattern.items())",
            "predicate::what_a_predicate_covers",
        ),
        (
            "one operator",
            "return all(_passes(name, argument, value)",
            "return any(_passes(name, argument, value)",
            "predicate::what_a_value_of_a_predicate_matches",
        ),
        (
            "all of a list",
            "return any(matches(each, value) for each in pattern)",
            "return all(matches(each, value) for each in pattern)",
            "predicate::what_a_value_of_a_predicate_matches",
        ),
        (
            "true is 1",
            "return isinstance(pattern, bool) == isinstance(value, bool) and bool(value == pattern)",
            "return bool(value == pattern)",
            "predicate::what_a_value_of_a_predicate_matches",
        ),
        (
            "true is a number",
            "if isinstance(value, bool) or not isinstance(value, int | float):",
            "if not isinstance(value, int | float):",
            "predicate::what_a_value_of_a_predicate_matches",
        ),
        (
            "not is nothing",
            "return not matches(argument, value)",
            "return True",
            "predicate::what_a_predicate_covers",
        ),
        ("odd either way", "return (value % 2 == 1) is argument", "return True", "predicate::what_a_predicate_covers"),
        (
            "above the least",
            "value >= argument if",
            "value > argument if",
            "predicate::what_a_value_of_a_predicate_matches",
        ),
        (
            "below the most",
            "else value <= argument",
            "else value < argument",
            "predicate::what_a_value_of_a_predicate_matches",
        ),
    ),
    *of(
        "ledger.expectation",
        (
            "contiguous operands are read as integers",
            "or is_contiguous(array.shape, layout):",
            "or False:",
            "expectations::only_operands_that_are_not_contiguous_are_read_as_integers",
        ),
        (
            "biases are read as they are",
            "None if each is None else read(each, bias_layout) for",
            "each for",
            "expectations::only_operands_that_are_not_contiguous_are_read_as_integers",
        ),
        (
            "results of a wider format stay wide",
            "if computed.significand > form.significand else enclosure",
            "if False else enclosure",
            "expectations::what_is_computed_in_a_wider_format_is_rounded_to_the_dtype_once",
        ),
        (
            "a dtype that is declared is forgotten",
            "if owners.get(name, min(layers)) in layers",
            "if False",
            "expectations::dtypes_are_of_the_results_that_are_named",
        ),
        (
            "dtypes may contradict each other",
            '_agreed(f"dtypes.{name}", covering, partial(_declared_dtype, name))',
            "pass",
            "planted_behaviours::two_behaviours_that_contradict_each_other_cannot_be_applied_together",
        ),
        (
            "dx of the layer's dtype",
            '"dx": input_dtype or dtype',
            '"dx": dtype',
            "expectations::dtypes_are_of_the_results_that_are_named",
        ),
        (
            "deviations are not computed",
            "if any(each != NO_DEVIATION for each in deviations):",
            "if False:",
            "expectations::under_a_deviation_every_step_has_an_output_of_its_own",
        ),
        (
            "what ends is computed",
            "if draw is not None and not any(each.ends for each in instead):",
            "if draw is not None:",
            "expectations::a_step_without_an_answer_has_no_other_bounds",
        ),
        (
            "another shape holds zeros",
            "allowed=np.full_like(zeros, np.inf))\n        reference",
            "allowed=zeros)\n        reference",
            "expectations::an_output_of_the_fed_shape_may_have_any_numbers",
        ),
        (
            "elements are not exact",
            "exact[index], allowed[index] = value, 0.0",
            "exact[index] = value",
            "expectations::elements_that_are_given_are_exact_and_all_others_as_they_were",
        ),
        (
            "the last of two values",
            "    if len({value for _, value in values}) > 1:\n        raise",
            "    if False:\n        raise",
            "combined_behaviours::a_step_has_one_ending_and_one_way_to_infer_and_accept",
        ),
        (
            "every layer has it",
            "for name, deviation, covered in deviations if layer in covered]",
            "for name, deviation, covered in deviations]",
            "combined_behaviours::each_layer_has_what_reaches_it",
        ),
        (
            "sets replace one another",
            "frozenset[str]().union(*(value for _, value in values))\n        elif",
            "values[-1][1]\n        elif",
            "combined_behaviours::the_fields_of_several_behaviours_are_taken_together",
        ),
        (
            "mappings contradict one another silently",
            "if merged.setdefault(key, content) != content:",
            "if False and merged.setdefault(key, content):",
            "combined_behaviours::two_behaviours_that_contradict_each_other_are_named",
        ),
        (
            "values contradict one another silently",
            "            if len({value for _, value in own}) > 1:",
            "            if False:",
            "combined_behaviours::two_behaviours_that_contradict_each_other_are_named",
        ),
        (
            "what may overflow has a bound",
            "allowed=np.where(open_ended, np.inf, each.allowed)",
            "allowed=each.allowed",
            "expectations::an_element_that_may_overflow_or_not_has_no_bound",
        ),
        (
            "what is undefined is that of the first",
            "undefined=frozenset[str]().union(*(each.undefined for each in instead))",
            "undefined=instead[0].undefined",
            "expectations::what_behaviours_leave_undefined_is_all_of_what_each_does",
        ),
        (
            "every layer reverses the axes",
            "shape if index % 2 else (shape[0], *reversed",
            "shape if False else (shape[0], *reversed",
            "expectations::shapes_are_inferred_as_declared",
        ),
        (
            "the width of the output alone",
            'if call == "gradient":',
            'if call == "forward":',
            "expectations::the_width_of_bounds_is_relative_to_the_whole_answer",
        ),
        (
            "the width of the narrowest",
            "return max((_width(each) for each",
            "return min((_width(each) for each",
            "expectations::the_width_of_bounds_is_relative_to_the_whole_answer",
        ),
        (
            "no bound is no width",
            "compared = np.isfinite(each.exact) & np.isfinite(each.allowed)",
            "compared = np.isfinite(each.exact)",
            "expectations::the_width_of_bounds_at_their_ends",
        ),
    ),
)
