"""Mutations of the bounds of products and sums."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "reference.probabilistic_bound",
        (
            "whichever is more",
            "return min(terms + 2.0,",
            "return max(terms + 2.0,",
            "probabilistic_bound::the_proven_bound_is_used_if_it_is_the_smaller",
        ),
        (
            "chance without its root",
            "LAMBDA * math.sqrt(terms + 2.0))",
            "LAMBDA * (terms + 2.0))",
            "probabilistic_bound::the_proven_bound_is_used_if_it_is_the_smaller",
        ),
        (
            "f by chance of K",
            "LAMBDA * math.sqrt(terms + 2.0))",
            "LAMBDA * math.sqrt(terms))",
            "probabilistic_bound::the_proven_bound_is_used_if_it_is_the_smaller",
        ),
        (
            "one tail",
            "math.log(2.0 * ELEMENTS / FALSE_ALARM)",
            "math.log(ELEMENTS / FALSE_ALARM)",
            "probabilistic_bound::the_constants_follow_from_the_stated_probability",
        ),
        (
            "rms of K",
            "math.sqrt((terms + 2.0) * (1.0",
            "math.sqrt(terms * (1.0",
            "probabilistic_bound::the_constants_follow_from_the_stated_probability",
        ),
        (
            "rms without its square root",
            "2.0 * math.sqrt(t / elements) + 2.0 * t",
            "2.0 * t",
            "probabilistic_bound::the_constants_follow_from_the_stated_probability",
        ),
        (
            "rms without its last term",
            " + 2.0 * t / elements))",
            "))",
            "probabilistic_bound::the_constants_follow_from_the_stated_probability",
        ),
        (
            "rms of all elements of a run",
            "t = math.log(ARRAYS / FALSE_ALARM)",
            "t = math.log(ELEMENTS / FALSE_ALARM)",
            "probabilistic_bound::the_constants_follow_from_the_stated_probability",
        ),
    ),
    *of(
        "reference.product",
        (
            "left radius dropped",
            "left.allowed @ right.largest + np.abs(left.exact) @ right.allowed",
            "np.abs(left.exact) @ right.allowed",
            "reference::both_sides_of_a_kink_are_allowed",
        ),
        (
            "right radius dropped",
            "left.allowed @ right.largest + np.abs(left.exact) @ right.allowed",
            "left.allowed @ right.largest",
            "multiprecision::float32_in_disguise_is_rejected",
        ),
        (
            "B of the exact operands",
            "magnitude = left.largest @ right.largest",
            "magnitude = np.abs(left.exact) @ np.abs(right.exact)",
            "bounds::the_last_layer_s_error_is_formed_of_members_not_of_exact_numbers",
        ),
        (
            "B without the bias",
            "magnitude = magnitude + np.abs(bias.exact)",
            "pass",
            "reference::the_bound_of_one_layer_is_the_formula_of_the_docstring",
        ),
        (
            "the bias dropped",
            "y = p if bias is None else p + bias.exact",
            "y = p",
            "reference::the_reference_agrees_with_exact_fractions_within_its_own_share_of_the_bound",
        ),
        (
            "f is K",
            "f = roundings(terms) if by_chance else terms + 2.0",
            "f = roundings(terms) if by_chance else float(terms)",
            "short_formats::the_bound_of_one_layer_is_the_formula",
        ),
        (
            "f is proven",
            "f = roundings(terms) if by_chance else terms + 2.0",
            "f = terms + 2.0",
            "bounds::long_sums_have_the_statistical_bound_only_where_it_is_assumed",
        ),
        (
            "f u_acc B dropped",
            " + product_rounded + f * arithmetic.u_accumulate * magnitude",
            " + product_rounded",
            "reference::the_bound_of_one_layer_is_the_formula_of_the_docstring",
        ),
        (
            "u|y| dropped",
            "rounding = result * (np.abs(y) + allowed) + product_rounded",
            "rounding = product_rounded",
            "reference::the_bound_of_one_layer_is_the_formula_of_the_docstring",
        ),
        (
            "u|y| of the exact y alone",
            "rounding = result * (np.abs(y) + allowed) +",
            "rounding = result * np.abs(y) +",
            "bounds::the_last_layer_s_error_is_formed_of_members_not_of_exact_numbers",
        ),
        (
            "e u|p| dropped",
            "product_rounded = result * (np.abs(p) + allowed) if",
            "product_rounded = 0.0 if",
            "short_formats::the_bound_of_one_layer_is_the_formula",
        ),
        (
            "e u|p| where it is counted",
            "u > arithmetic.u_accumulate else 0.0",
            "u >= arithmetic.u_accumulate else 0.0",
            "reference::the_bound_of_one_layer_is_the_formula_of_the_docstring",
        ),
        (
            "e u|p| without a bias",
            "if bias is not None and u > arithmetic.u_accumulate",
            "if u > arithmetic.u_accumulate",
            "bounds::the_product_may_be_rounded_before_its_bias_is_added",
        ),
        (
            "floor dropped",
            "rounding * (1.0 + u) + floor + own)",
            "rounding * (1.0 + u) + own)",
            "short_formats::the_bound_of_one_layer_is_the_formula",
        ),
        (
            "flushed operands dropped",
            "(terms + 1 + _flushable(arithmetic, left, right))",
            "(terms + 1)",
            "bounds::what_a_flush_to_zero_costs_is_allowed",
        ),
        (
            "rounding of subnormals dropped",
            "floor = floor + 2.0 * arithmetic.format.half_smallest_subnormal",
            "pass",
            "short_formats::the_bound_of_one_layer_is_the_formula",
        ),
        (
            "the reference's own error dropped",
            "own = 0.0 if arithmetic.centred else (terms + 2) * U64 * magnitude",
            "own = 0.0",
            "bounds::the_reference_s_own_error_is_in_the_radius_once_and_where_it_makes_one",
        ),
        (
            "own error where the centre is exact",
            "own = 0.0 if arithmetic.centred else",
            "own = 0.0 if False else",
            "bounds::the_reference_s_own_error_is_in_the_radius_once_and_where_it_makes_one",
        ),
        (
            "radius not inflated",
            " * (1.0 + 4.0 * (terms + 8) * U64)",
            "",
            "bounds::the_reference_s_own_error_is_in_the_radius_once_and_where_it_makes_one",
        ),
        (
            "chance of a left with a radius",
            "if by_chance and given:",
            "if by_chance and not right.allowed.any():",
            "bounds::only_sums_of_given_numbers_have_a_bound_of_the_root_mean_square",
        ),
        (
            "chance of a right with a radius",
            "if by_chance and given:",
            "if by_chance and not left.allowed.any():",
            "bounds::only_sums_of_given_numbers_have_a_bound_of_the_root_mean_square",
        ),
        (
            "unit of y",
            "unit=arithmetic.u * magnitude",
            "unit=arithmetic.u * np.abs(y)",
            "probabilistic_bound::on_the_uniform_lane_narrow_operands_are_red_and_honest_ones_green",
        ),
        (
            "a product never overflows",
            "return Enclosure(exact=y, allowed=allowed).overflowed(arithmetic.format)",
            "return Enclosure(exact=y, allowed=allowed)",
            "bounds::what_overflows_in_every_right_layer_is_an_infinity",
        ),
        (
            "subnormal or zero",
            "(np.abs(numbers.exact) - numbers.allowed < arithmetic.flushed) & (numbers.largest > 0.0)",
            "np.abs(numbers.exact) - numbers.allowed < arithmetic.flushed",
            "bounds::no_flush_is_allowed_of_numbers_that_are_normal_or_zero",
        ),
        (
            "subnormal at the normal range",
            "numbers.allowed < arithmetic.flushed)",
            "numbers.allowed <= arithmetic.flushed)",
            "bounds::no_flush_is_allowed_of_numbers_that_are_normal_or_zero",
        ),
        (
            "flushed left dropped",
            "total = total + subnormal_left.astype(np.float64) @ right.largest",
            "pass",
            "bounds::what_a_flush_to_zero_costs_is_allowed",
        ),
        (
            "flushed right dropped",
            "total = total + left.largest @ subnormal_right.astype(np.float64)",
            "pass",
            "bounds::what_a_flush_to_zero_costs_is_allowed",
        ),
        (
            "not finite is not looked at",
            "if not all(np.isfinite(each.exact).all() for each",
            "if False and not all(np.isfinite(each.exact).all() for each",
            "bounds::what_is_not_finite_reaches_the_sums_it_enters_and_no_other",
        ),
        (
            "not finite has a bound",
            "allowed=np.where(met, 0.0, without.allowed)",
            "allowed=without.allowed",
            "bounds::what_is_not_finite_reaches_the_sums_it_enters_and_no_other",
        ),
        (
            "finite beside not finite is not bounded",
            "allowed=np.where(met, 0.0, without.allowed)",
            "allowed=np.where(met, 0.0, np.inf)",
            "bounds::what_is_not_finite_reaches_the_sums_it_enters_and_no_other",
        ),
        (
            "a bias that is not finite is lost",
            "            y = y + bias.exact\n",
            "            y = y + _zeroed(bias).exact\n",
            "bounds::a_bias_that_is_not_finite_reaches_its_unit_at_every_position",
        ),
    ),
)
