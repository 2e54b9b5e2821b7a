"""Mutations of what a step should answer, and of its judgement."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "checks.expectations",
        (
            "the rule's output where another is declared",
            "        return found.reference.y\n",
            "        return super().output(label)\n",
            "expectations::under_a_deviation_every_step_has_an_output_of_its_own",
        ),
        (
            "a behaviour of no layer covers",
            "return tuple((each, layers) for each, layers in reached if layers)",
            "return tuple((each, layers) for each, layers in reached)",
            "expectations::a_step_that_no_behaviour_covers_follows_the_rule",
        ),
        (
            "another case's elements",
            "each.covered_layers(step, self._surroundings, self.case.id)",
            'each.covered_layers(step, self._surroundings, "")',
            "expectations::elements_that_are_given_are_exact_and_all_others_as_they_were",
        ),
        (
            "what holds sometimes holds always",
            "always = tuple(each for each in covering if each[0].sometimes is None)",
            "always = covering",
            "gone_behaviours::a_behaviour_under_sometimes_may_differ_from_step_to_step",
        ),
        (
            "one at most of what holds sometimes",
            "for count in range(len(covering) + 1):",
            "for count in range(min(len(covering), 1) + 1):",
            "combined_behaviours::the_fewest_behaviours_that_explain_an_answer_apply",
        ),
        (
            "some of what holds sometimes",
            "for count in range(len(covering) + 1):",
            "for count in range(1, len(covering) + 1):",
            "combined_behaviours::the_fewest_behaviours_that_explain_an_answer_apply",
        ),
        (
            "as many as explain",
            "itertools.combinations(covering, count)",
            "itertools.combinations(covering, len(covering) - count)",
            "combined_behaviours::the_fewest_behaviours_that_explain_an_answer_apply",
        ),
        (
            "what holds always is left out beside it",
            "(*always, *chosen)",
            "chosen",
            "combined_behaviours::the_fewest_behaviours_that_explain_an_answer_apply",
        ),
        (
            "all hold where none explains",
            "always if self._satisfies is not None else covering",
            "covering",
            "combined_behaviours::the_fewest_behaviours_that_explain_an_answer_apply",
        ),
        (
            "none holds without an answer",
            "always if self._satisfies is not None else covering",
            "always",
            "combined_behaviours::without_an_answer_all_possible_behaviours_apply",
        ),
        (
            "one of two refusals alone",
            "for each in alternatives((*always, *chosen))]",
            "for each in [(*always, *chosen)]]",
            "combined_behaviours::of_two_refusals_of_one_step_the_one_that_explains_the_answer_applies",
        ),
        (
            "what contradicts itself is an error",
            "except Conflict:\n                continue",
            "except Conflict:\n                raise",
            "combined_behaviours::behaviours_that_contradict_each_other_never_apply_together",
        ),
        (
            "every input is accepted",
            "            if reference is None:\n                return rule\n",
            "",
            "expectations::what_is_accepted_has_the_answer_of_the_input_it_is_taken_for",
        ),
    ),
    *of(
        "checks.step",
        (
            "a step that was not reached is as none",
            "    if reply is None:\n        return True",
            "    if reply is None:\n        return False",
            "step::a_step_that_was_not_reached_is_as_anything",
        ),
        (
            "what should end may answer",
            "if isinstance(answer, Raised) or expectation.ends:",
            "if isinstance(answer, Raised):",
            "step::what_should_not_answer_is_refused_as_declared_or_not_as_expected",
        ),
        (
            "any dtype of an output",
            'if output is None or str(answer.y.dtype) != expectation.dtypes["output"]:',
            "if output is None:",
            "step::an_output_is_checked_against_its_enclosure_and_dtype",
        ),
        (
            "values that mean nothing are compared",
            'is_undefined = "output" in expectation.undefined',
            "is_undefined = False",
            "step::an_undefined_output_is_checked_against_its_shape",
        ),
        (
            "whatever is undefined, outputs are",
            'is_undefined = "output" in expectation.undefined',
            "is_undefined = bool(expectation.undefined)",
            "step::an_undefined_output_is_checked_against_its_shape",
        ),
        (
            "any output",
            "return found.outcome != VIOLATES",
            "return True",
            "step::an_output_is_checked_against_its_enclosure_and_dtype",
        ),
        (
            "inferred by the rule alone",
            "inferred_shapes(_shapes_of_rule(step), expectation.infers, step",
            "inferred_shapes(_shapes_of_rule(step), None, step",
            "step::inferred_shapes_are_checked_against_the_rule_or_the_behaviour",
        ),
        (
            "the batch counts",
            "[each[1:] for each in answer.shapes] == [each[1:] for each in shapes]",
            "list(answer.shapes) == list(shapes)",
            "step::inferred_shapes_are_checked_against_the_rule_or_the_behaviour",
        ),
        (
            "shapes of what must be refused",
            "        if case.expect.error:\n            return expectation.infers is None",
            "        if False:\n            return expectation.infers is None",
            "step::of_what_must_be_refused_no_shape_is_known",
        ),
        (
            "one parameter of the dtype",
            "return all(each.dtype == expectation",
            "return any(each.dtype == expectation",
            "step::parameters_are_of_the_dtype",
        ),
        (
            "one gradient is right",
            "return all(each.outcome != VIOLATES for each in compared_step",
            "return any(each.outcome != VIOLATES for each in compared_step",
            "step::gradients_are_checked_against_their_enclosures",
        ),
        (
            "an ending is not apart from an answer",
            "if one.ends != other.ends or (one",
            "if False or (one",
            "step::answers_of_another_kind_dtype_or_shape_are_disjoint",
        ),
        (
            "accepting is not apart from refusing",
            "if one.ends != other.ends or (one.accepts is None) != (other.accepts is None):",
            "if one.ends != other.ends:",
            "step::answers_of_another_kind_dtype_or_shape_are_disjoint",
        ),
        (
            "dtypes are not apart",
            "if any(one.dtypes[name] != other.dtypes[name] for name",
            "if all(one.dtypes[name] != other.dtypes[name] for name",
            "step::answers_of_another_kind_dtype_or_shape_are_disjoint",
        ),
        (
            "dtypes of other calls are apart",
            "in _TYPED.get(step.call, ())):",
            "in one.dtypes):",
            "step::answers_of_another_kind_dtype_or_shape_are_disjoint",
        ),
        (
            "the same shapes are apart",
            "each in (one, other)}) > 1",
            "each in (one, other)}) > 0",
            "step::shapes_that_are_declared_otherwise_may_be_the_same",
        ),
        (
            "what means nothing is apart",
            "    if one.undefined or other.undefined:\n        return False\n",
            "",
            "step::undefined_values_are_disjoint_from_none",
        ),
        (
            "all values are apart or none",
            "return any(map(_is_disjoint, _enclosures",
            "return all(map(_is_disjoint, _enclosures",
            "step::values_are_disjoint_where_no_number_is_within_both_bounds",
        ),
        (
            "the last gradient is not looked at",
            "*(each for pair in reference.layers for each in pair)] if call",
            "*(each for pair in reference.layers for each in pair[:1])] if call",
            "step::values_are_disjoint_where_no_number_is_within_both_bounds",
        ),
        (
            "dx is not looked at",
            "return [reference.dx, *(each",
            "return [*(each",
            "step::values_are_disjoint_where_no_number_is_within_both_bounds",
        ),
        (
            "a bias that is not there is not apart",
            "return (one is None) != (other is None)",
            "return False",
            "step::values_are_disjoint_where_no_number_is_within_both_bounds",
        ),
        (
            "another shape is not apart",
            "    if one.exact.shape != other.exact.shape:\n        return True",
            "    if one.exact.shape != other.exact.shape:\n        return False",
            "step::values_are_disjoint_where_no_number_is_within_both_bounds",
        ),
        (
            "one radius",
            "distance > one.allowed + other.allowed)",
            "distance > one.allowed)",
            "step::values_are_disjoint_where_no_number_is_within_both_bounds",
        ),
        (
            "apart at the bounds",
            "distance > one.allowed + other.allowed)",
            "distance >= one.allowed + other.allowed)",
            "step::values_are_disjoint_where_no_number_is_within_both_bounds",
        ),
        (
            "NaN is not apart",
            "far = np.isnan(distance) | (",
            "far = (",
            "step::values_are_disjoint_where_no_number_is_within_both_bounds",
        ),
        (
            "an infinity is apart from itself",
            "return bool((judged & ~same & far).any())",
            "return bool((judged & far).any())",
            "step::the_same_infinity_is_not_disjoint_from_itself",
        ),
        (
            "what has no bound is apart",
            "return bool((judged & ~same & far).any())",
            "return bool((~same & far).any())",
            "step::values_are_disjoint_where_no_number_is_within_both_bounds",
        ),
    ),
)
