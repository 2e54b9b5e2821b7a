"""Mutations of the comparator: of arrays beside what they should be."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "checks.comparison",
        (
            "an error at the bound violates",
            "if float(ratio.max()) <= 1.0:",
            "if float(ratio.max()) < 1.0:",
            "checks::an_error_at_the_bound_is_within_and_one_beyond_is_not",
        ),
        (
            "any element within",
            "if float(ratio.max()) <= 1.0:",
            "if float(ratio.min()) <= 1.0:",
            "comparison::the_message_counts_the_elements_that_are_off",
        ),
        (
            "least ratio is the worst",
            "int(ratio.argmax())",
            "int(ratio.argmin())",
            "comparison::the_worst_element_is_that_of_the_largest_ratio_not_error",
        ),
        (
            "largest error is the worst",
            "int(ratio.argmax())",
            "int(error.argmax())",
            "comparison::the_worst_element_is_that_of_the_largest_ratio_not_error",
        ),
        (
            "margin is the mean",
            "margin=float(ratio[index])",
            "margin=float(ratio.mean())",
            "comparison::the_worst_element_is_that_of_the_largest_ratio_not_error",
        ),
        (
            "margin is always 0",
            "margin=float(ratio[index])",
            "margin=0.0",
            "comparison::the_worst_element_is_that_of_the_largest_ratio_not_error",
        ),
        (
            "an infinite error has margin 0",
            "ratio[~np.isfinite(error)] = np.inf",
            "ratio[~np.isfinite(error)] = 0.0",
            "comparison::what_is_not_finite_is_right_where_it_is_expected_alone",
        ),
        (
            "no error within no bound is NaN",
            "ratio[error == 0.0] = 0.0",
            "ratio[error < 0.0] = 0.0",
            "comparison::no_error_where_none_is_allowed_is_no_part_of_the_margin",
        ),
        (
            "sizes for shapes",
            "if actual.shape != enclosure.exact.shape:",
            "if actual.size != enclosure.exact.size:",
            "checks::another_shape_is_never_broadcast",
        ),
        (
            "nothing is not answered",
            "if actual.size == 0:",
            "if actual.size < 0:",
            "comparison::an_array_of_nothing_conforms",
        ),
        (
            "compared in float32",
            "values = actual.astype(np.float64)",
            "values = actual.astype(np.float32).astype(np.float64)",
            "checks::an_error_at_the_bound_is_within_and_one_beyond_is_not",
        ),
        (
            "NaN is fine",
            "(np.isnan(values) & np.isnan(exact))",
            "np.isnan(values)",
            "comparison::what_is_not_finite_is_right_where_it_is_expected_alone",
        ),
        (
            "infinities have no sign",
            "(values == exact) |",
            "(np.abs(values) == np.abs(exact)) |",
            "comparison::what_is_not_finite_is_right_where_it_is_expected_alone",
        ),
        (
            "not finite is never wrong",
            "np.where(same, 0.0, np.inf))",
            "np.where(same, 0.0, 0.0))",
            "comparison::what_is_not_finite_is_right_where_it_is_expected_alone",
        ),
        (
            "elements within are counted off",
            "np.count_nonzero(ratio > 1.0)",
            "np.count_nonzero(ratio <= 1.0)",
            "comparison::the_message_counts_the_elements_that_are_off",
        ),
        (
            "errors are never judged together",
            "return _with_root_mean_square(finding, error, enclosure)",
            "return finding",
            "comparison::the_root_mean_square_of_enough_errors_has_a_bound",
        ),
        (
            "errors together never violate",
            "if measured <= joint.limit:",
            "if True:",
            "comparison::the_root_mean_square_of_enough_errors_has_a_bound",
        ),
        (
            "the largest margin beats a violation",
            "    if violations:\n",
            "    if False:\n",
            "comparison::gradients_are_of_every_layer_and_of_the_dtype",
        ),
        (
            "the smallest margin is the worst",
            "return max(findings, key",
            "return min(findings, key",
            "checks::the_worst_finding_is_a_violation_even_with_a_smaller_margin",
        ),
        (
            "between within one bound",
            "allowed=enclosure.allowed + other_enclosure.allowed)",
            "allowed=enclosure.allowed)",
            "comparison::two_answers_differ_by_at_most_their_enclosures",
        ),
        (
            "between holds one to the reference",
            "enclosure.exact, second.astype(np.float64) + moved",
            "enclosure.exact, enclosure.exact",
            "comparison::two_answers_differ_by_the_sum_of_both_bounds_at_most",
        ),
        (
            "between of any shape",
            "if second.shape != enclosure.exact.shape or other_enclosure",
            "if False or other_enclosure",
            "comparison::an_answer_of_another_shape_is_not_compared_with_another",
        ),
        (
            "declining excuses new outputs",
            "return next((each for each in violations if each.declined is None), violations[0])",
            "return violations[0]",
            "comparison::of_nothing_to_judge_a_check_conforms_and_what_is_declined_comes_last",
        ),
    ),
)
