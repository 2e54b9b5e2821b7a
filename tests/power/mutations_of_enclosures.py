"""Mutations of enclosures, and of the exact answers of a stack."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "reference.enclosure",
        (
            "largest without the radius",
            "return np.abs(self.exact) + self.allowed",
            "return np.abs(self.exact)",
            "activations::an_enclosure_contains_the_function_of_every_member",
        ),
        (
            "error without abs",
            "return np.abs(difference, out=difference)",
            "return difference",
            "multiprecision::the_tail_decides",
        ),
        ("error without tail", "difference -= self.tail", "pass", "multiprecision::the_tail_decides"),
        (
            "reshaped without tail",
            "tail=None if self.tail is None else self.tail.reshape(shape)",
            "tail=None",
            "multiprecision::the_tail_decides",
        ),
        (
            "reshaped without the joint bound",
            "joint=None if self.joint is None else replace(self.joint, unit=self.joint.unit.reshape(shape))",
            "joint=None",
            "bounds::another_shape_changes_nothing_else",
        ),
        (
            "rounded without its roundoff",
            "self.allowed + form.unit_roundoff * self.largest + form.half_smallest_subnormal",
            "self.allowed + form.half_smallest_subnormal",
            "bounds::rounding_to_another_format_adds_its_own_error_for_every_member",
        ),
        (
            "rounded without its subnormals",
            "self.largest + form.half_smallest_subnormal",
            "self.largest",
            "bounds::rounding_to_another_format_adds_its_own_error_for_every_member",
        ),
        (
            "rounded without what was allowed",
            "allowed = self.allowed + form.unit_roundoff",
            "allowed = form.unit_roundoff",
            "bounds::rounding_to_another_format_adds_its_own_error_for_every_member",
        ),
        (
            "rounded without tail",
            "allowed=allowed, tail=self.tail)",
            "allowed=allowed)",
            "bounds::rounding_to_another_format_adds_its_own_error_for_every_member",
        ),
        (
            "rounded never overflows",
            "tail=self.tail).overflowed(form)",
            "tail=self.tail)",
            "bounds::rounding_to_another_format_adds_its_own_error_for_every_member",
        ),
        (
            "overflows from beyond half an ulp",
            "self.allowed >= form.maximum + half",
            "self.allowed > form.maximum + half",
            "bounds::an_overflow_begins_half_a_unit_beyond_the_largest_number",
        ),
        (
            "overflows at the largest number",
            ">= form.maximum + half)",
            ">= form.maximum)",
            "bounds::an_overflow_begins_half_a_unit_beyond_the_largest_number",
        ),
        (
            "some members overflow",
            "(np.abs(self.exact) - self.allowed >=",
            "(np.abs(self.exact) + self.allowed >=",
            "bounds::an_overflow_begins_half_a_unit_beyond_the_largest_number",
        ),
        (
            "overflows to plus infinity",
            "np.copysign(np.inf, self.exact)",
            "np.inf",
            "bounds::what_overflows_in_every_right_layer_is_an_infinity",
        ),
        (
            "an infinity of any radius",
            "allowed=np.where(over, 0.0, self.allowed))",
            "allowed=self.allowed)",
            "bounds::an_infinity_has_no_radius",
        ),
        (
            "16-bit sums in float32 together",
            "return not self.exact and self.u == self.u_accumulate and not",
            "return not self.exact and not",
            "bounds::errors_are_judged_together_if_sums_are_rounded_in_the_format_itself",
        ),
        (
            "exact sums together",
            "return not self.exact and self.u ==",
            "return self.u ==",
            "bounds::errors_are_judged_together_if_sums_are_rounded_in_the_format_itself",
        ),
        (
            "toward zero is to nearest",
            "return 2.0 * self.u if self.rounds_toward_zero else self.u",
            "return self.u",
            "deviation_sums::how_much_more_a_sum_is_allowed_follows_from_how_it_is_rounded",
        ),
        (
            "always accumulated wide",
            "(self.accumulator or FORMATS[self.format.accumulator])",
            "FORMATS[self.format.accumulator]",
            "short_formats::a_bias_gradient_summed_in_the_dtype_is_right_where_it_is_declared_alone",
        ),
        (
            "float16 is flushed",
            "FORMATS[self.format.accumulator].smallest_normal",
            "self.format.smallest_normal",
            "short_formats::the_bound_of_one_layer_is_the_formula",
        ),
        (
            "nothing is flushed",
            "return 0.0 if self.exact else FORMATS[self.format.accumulator].smallest_normal",
            "return 0.0",
            "bounds::what_a_flush_to_zero_costs_is_allowed",
        ),
        (
            "floor without the flush",
            "self.flushed + 4.0 * self.format.half_smallest_subnormal",
            "4.0 * self.format.half_smallest_subnormal",
            "bounds::on_the_exact_lane_no_operation_costs_anything",
        ),
        (
            "n ulp are n u",
            "return 2.0 * DECLARED_ULPS[name][function] * self.u",
            "return DECLARED_ULPS[name][function] * self.u",
            "reference::the_contract_of_tanh_separates_what_it_allows_from_what_it_does_not",
        ),
        (
            "a function of bfloat16 is not rounded",
            "else self.u + wide * (1.0 + self.u)",
            "else wide * (1.0 + self.u)",
            "short_formats::a_function_in_bfloat16_is_that_of_float32_rounded_once",
        ),
        (
            "the reference has no error",
            "return 0.0 if self.exact else U64",
            "return 0.0",
            "bounds::on_the_exact_lane_no_operation_costs_anything",
        ),
    ),
    *of(
        "reference.answer",
        (
            "the centre of y unused",
            "(layer.arithmetic, z), centres.y[index] if centres else None)",
            "(layer.arithmetic, z), None)",
            "bounds::the_reference_of_float64_is_more_accurate_than_float64",
        ),
        (
            "the centre of dW unused",
            "dkernel = _centred(dkernel, centres.dkernel[index] if centres else None)",
            "pass",
            "bounds::the_reference_of_float64_is_more_accurate_than_float64",
        ),
        (
            "the centre of dx unused",
            "da = _centred(da, centres.dx[index] if centres else None)",
            "pass",
            "bounds::the_reference_of_float64_is_more_accurate_than_float64",
        ),
        (
            "backward from the first layer",
            "for index in reversed(range(len(layers))):",
            "for index in range(len(layers)):",
            "reference::on_the_exact_lane_nothing_is_allowed",
        ),
        (
            "the activation of the first layer",
            "dz = layer.activation.backward",
            "dz = layers[0].activation.backward",
            "bounds::one_declared_activation_makes_a_stack_declared_and_every_layer_has_its_own",
        ),
        (
            "layers in reverse",
            "gradients.insert(0, (dkernel, dbias))",
            "gradients.append((dkernel, dbias))",
            "reference::the_gradients_are_those_of_the_function",
        ),
        (
            "the sums of db for those of dW",
            'product(self.sums("dW"), columns',
            'product(self.sums("db"), columns',
            "deviation_sums::a_sum_that_is_rounded_otherwise_is_allowed_more_and_no_other_is",
        ),
        (
            "declared where all are",
            "if any(layer.activation.declared",
            "if all(layer.activation.declared",
            "bounds::one_declared_activation_makes_a_stack_declared_and_every_layer_has_its_own",
        ),
        (
            "the shortest sum",
            "longest = max(draw.dy.shape[-1]",
            "longest = min(draw.dy.shape[-1]",
            "bounds::long_sums_have_the_statistical_bound_only_where_it_is_assumed",
        ),
        (
            "a centre without tail",
            "exact=centre.high, allowed=allowed, tail=centre.low)",
            "exact=centre.high, allowed=allowed)",
            "bounds::the_reference_of_float64_is_more_accurate_than_float64",
        ),
        (
            "flushed denormals are wrong",
            "return _with_flushes(reference, draw, FORMATS[dtype].smallest_normal) if draw.denormal else reference",
            "return reference",
            "bounds::a_denormal_may_be_flushed_in_part_or_whole",
        ),
        (
            "denormals from half",
            "half = np.where(enclosure.exact > reach, 0.0, enclosure.exact / 2.0)",
            "half = np.where(enclosure.exact > reach, 0.0, enclosure.exact / 4.0)",
            "bounds::a_denormal_may_be_flushed_in_part_or_whole",
        ),
        (
            "large numbers from zero",
            "half = np.where(enclosure.exact > reach, 0.0, enclosure.exact / 2.0)",
            "half = enclosure.exact / 2.0",
            "bounds::a_number_beyond_the_reach_of_a_flush_has_to_be_right",
        ),
        (
            "denormals keep their centre",
            "exact=enclosure.exact - half,",
            "exact=enclosure.exact,",
            "bounds::a_denormal_may_be_flushed_in_part_or_whole",
        ),
        (
            "denormal gradients of biases alone",
            "(widened(kernel), None if bias",
            "(kernel, None if bias",
            "bounds::a_denormal_may_be_flushed_in_part_or_whole",
        ),
        (
            "denormal dx is exact",
            "dx=widened(unflushed.dx)",
            "dx=unflushed.dx",
            "bounds::a_denormal_may_be_flushed_in_part_or_whole",
        ),
        (
            "denormal y is exact",
            "y=widened(unflushed.y)",
            "y=unflushed.y",
            "bounds::a_denormal_may_be_flushed_in_part_or_whole",
        ),
    ),
)
