"""Mutations of what is computed instead of the rule: deviations, and the reference under them."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "reference.deviation",
        (
            "x is not cast",
            'x=_cast(draw.x, first.casts.get("x"), first',
            "x=_cast(draw.x, first",
            "deviation::an_operand_that_is_cast_changes_what_it_enters",
        ),
        (
            "x is cast by the last layer",
            'x=_cast(draw.x, first.casts.get("x")',
            'x=_cast(draw.x, last.casts.get("x")',
            "deviation::each_layer_casts_its_own_weights_and_the_ends_of_the_stack_what_enters_there",
        ),
        (
            "dy is cast by the first layer",
            'dy=_cast(draw.dy, last.casts.get("dy")',
            'dy=_cast(draw.dy, first.casts.get("dy")',
            "deviation::each_layer_casts_its_own_weights_and_the_ends_of_the_stack_what_enters_there",
        ),
        (
            "the kernel is not cast",
            'each.casts.get("kernel"), each.computes_in',
            "each.computes_in",
            "deviation::an_operand_that_is_cast_changes_what_it_enters",
        ),
        (
            "the bias is not cast",
            'each.casts.get("bias"), each.computes_in',
            "each.computes_in",
            "deviation::an_operand_that_is_cast_changes_what_it_enters",
        ),
        (
            "the bias is in the format of products",
            '_cast(bias, each.casts.get("bias"), each.computes_in)',
            '_cast(bias, each.casts.get("bias"), each.computes_in, each.products_in)',
            "deviation::products_in_another_format_leave_the_bias_and_its_gradient_as_they_are",
        ),
        (
            "the kernel is not in the format of products",
            "each.computes_in, each.products_in))",
            "each.computes_in))",
            "deviation::products_in_another_format_leave_the_bias_and_its_gradient_as_they_are",
        ),
        (
            "dy is not in the format of the layer",
            'last.casts.get("dy"), last.computes_in)',
            'last.casts.get("dy"))',
            "deviation::what_computes_in_another_format_has_all_operands_and_the_bounds_of_that",
        ),
        (
            "no bias is lost",
            "None if each.loses_bias else bias",
            "bias",
            "deviation::a_bias_that_is_lost_leaves_its_gradient",
        ),
        (
            "infinities are clipped to the largest number",
            "np.copysign(largest, weight).astype(weight.dtype)",
            "np.full_like(weight, largest)",
            "deviation::infinite_weights_are_clipped_each_to_its_side_and_x_is_not",
        ),
        (
            "NaN is clipped",
            "np.where(np.isinf(weight), np",
            "np.where(weight < 1e9, np",
            "deviation::infinite_weights_are_clipped_each_to_its_side_and_x_is_not",
        ),
        (
            "sums in another format only widen, and formulas",
            "replace(self.activation, error={}, functions_in=None) == ActivationDeviation()",
            "replace(self.activation, error={}, functions_in=None, formula=None) == ActivationDeviation()",
            "deviation::what_leaves_the_exact_answer_alone_only_widens",
        ),
        (
            "an error changes the exact answer",
            "replace(self.activation, error={}, functions_in=None)",
            "replace(self.activation, functions_in=None)",
            "deviation::what_leaves_the_exact_answer_alone_only_widens",
        ),
        (
            "products are in the format of the layer",
            "return (self.products_in or own) if product else own",
            "return own",
            "deviation::products_in_another_format_leave_the_bias_and_its_gradient_as_they_are",
        ),
        (
            "all is in the format of products",
            "return (self.products_in or own) if product else own",
            "return self.products_in or own",
            "deviation::products_in_another_format_leave_the_bias_and_its_gradient_as_they_are",
        ),
        (
            "sums in another format are exact",
            "formats |= {name for each in deviations for name in each.sums_in.values()}",
            "pass",
            "deviation::sums_of_small_integers_stay_exact_in_the_formats_that_represent_them",
        ),
        (
            "products in another format are exact",
            "for product in (True, False)}",
            "for product in (False,)}",
            "deviation::sums_of_small_integers_stay_exact_in_the_formats_that_represent_them",
        ),
        (
            "another function is exact",
            "return draw.exact and follows_rule and",
            "return draw.exact and",
            "deviation::sums_of_small_integers_stay_exact_in_the_formats_that_represent_them",
        ),
        (
            "all numbers are exact",
            "return draw.exact and follows_rule and all(",
            "return follows_rule and all(",
            "deviation::sums_of_small_integers_stay_exact_in_the_formats_that_represent_them",
        ),
        (
            "an infinity makes all inexact",
            "        x=_finite(draw.x),",
            "        x=draw.x,",
            "deviation::an_infinity_takes_no_exactness_from_the_sums_it_does_not_enter",
        ),
    ),
    *of(
        "reference.answer",
        (
            "the operands of the rule",
            "used = draw if deviations is None else operands(draw, tuple(deviations))",
            "used = draw",
            "deviation::an_operand_that_is_cast_changes_what_it_enters",
        ),
        (
            "the rule's exact answer beyond float64",
            'centred = dtype == "float64" and all(each.widens_only for each in deviations)',
            'centred = dtype == "float64"',
            "deviation::the_reference_of_float64_is_more_accurate_if_the_exact_answer_is_that_of_the_rule",
        ),
        (
            "nothing beyond float64 with a deviation",
            "all(each.widens_only for each in deviations)",
            "all(each is NO_DEVIATION for each in deviations)",
            "deviation::the_reference_of_float64_is_more_accurate_if_the_exact_answer_is_that_of_the_rule",
        ),
        (
            "exact however it deviates",
            "    if any(each is not NO_DEVIATION for each in deviations):",
            "    if False:",
            "deviation::where_they_are_exact_no_more_what_is_rounded_is_allowed",
        ),
        (
            "sums in the accumulator of the rule",
            "accumulator=base.accumulator if accumulator is None else FORMATS[accumulator],",
            "accumulator=base.accumulator,",
            "deviation_sums::a_sum_that_is_rounded_otherwise_is_allowed_more_and_no_other_is",
        ),
        (
            "one result that rounds toward zero is all",
            "rounds_toward_zero=result in self.deviation.rounds_toward_zero",
            "rounds_toward_zero=bool(self.deviation.rounds_toward_zero)",
            "deviation_sums::a_sum_that_is_rounded_otherwise_is_allowed_more_and_no_other_is",
        ),
        (
            "products are not rounded each",
            "rounds_each_product=result in self.deviation.rounds_each_product",
            "rounds_each_product=False",
            "deviation_sums::a_sum_that_is_rounded_otherwise_is_allowed_more_and_no_other_is",
        ),
        (
            "db is a product of operands",
            'base = self.arithmetic if result == "db" else self.product',
            "base = self.product",
            "deviation::products_in_another_format_leave_the_bias_and_its_gradient_as_they_are",
        ),
        (
            "an operand is not rounded",
            "            return numbers.rounded(form)",
            "            return numbers",
            "deviation::between_layers_a_product_in_another_format_rounds_its_operand",
        ),
        (
            "a given operand is not rounded",
            "return exact_enclosure(numbers.exact.astype(form.dtype))",
            "return numbers",
            "deviation::products_in_another_format_leave_the_bias_and_its_gradient_as_they_are",
        ),
        (
            "the bias is added in the format of products",
            "kernel, None if adds_bias_later else bias, randomness)",
            "kernel, bias, randomness)",
            "deviation::products_in_another_format_leave_the_bias_and_its_gradient_as_they_are",
        ),
        (
            "every position meets the padding",
            "np.isfinite(left.exact[:, -sums:])",
            "np.isfinite(left.exact)",
            "deviation_sums::an_infinity_that_meets_a_padding_of_zeros_makes_its_sums_nan",
        ),
        (
            "the first position is the next of the last",
            "np.append(~np.isfinite(x.exact[1:]).all(axis=1), False)",
            "np.roll(~np.isfinite(x.exact).all(axis=1), -1)",
            "deviation_sums::of_the_last_position_there_is_no_next",
        ),
        (
            "an even number of terms has a padding",
            " or left.exact.shape[1] // sums % 2 == 0",
            "",
            "deviation_sums::an_even_number_of_terms_meets_no_padding",
        ),
        (
            "one position of the last sample meets the padding",
            "left.exact[:, -sums:]",
            "left.exact[:, -1:]",
            "deviation_sums::a_sum_for_each_position_meets_the_last_sample",
        ),
        (
            "samples are terms as positions are",
            "left.exact.shape[1] // sums % 2",
            "left.exact.shape[1] % 2",
            "deviation_sums::a_sum_for_each_position_meets_the_last_sample",
        ),
        (
            "the kernel's gradient meets no padding",
            'return self.padded(product(self.sums("dW"), columns, dz, None, randomness), columns, sums)',
            'return product(self.sums("dW"), columns, dz, None, randomness)',
            "deviation_sums::gradients_meet_the_padding_of_their_own_terms",
        ),
        (
            "the input's gradient meets no padding",
            "da = layer.padded(da, factor)",
            "pass",
            "deviation_sums::gradients_meet_the_padding_of_their_own_terms",
        ),
        (
            "no absolute error",
            'error.get("absolute", 0.0)',
            "0.0",
            "deviation::an_error_of_the_activation_is_in_unit_roundoffs_absolute_and_relative",
        ),
        (
            "no relative error",
            'error.get("relative", 0.0)',
            "0.0",
            "deviation::an_error_of_the_activation_is_in_unit_roundoffs_absolute_and_relative",
        ),
        (
            "further error takes the place of the first",
            "allowed=y.allowed + further",
            "allowed=further",
            "deviation::an_error_of_the_activation_is_in_unit_roundoffs_absolute_and_relative",
        ),
        (
            "the activation is the rule's",
            "activation=_activation(activation, each.activation)",
            "activation=activation_of(activation)",
            "deviation::constants_and_formulas_are_those_of_the_layer_that_has_them",
        ),
        (
            "functions are in the rule's format",
            "deviation.constants, deviation.functions_in)",
            "deviation.constants)",
            "deviation::functions_in_another_format_are_rounded_there_and_products_are_not",
        ),
        (
            "products are in the layer's format",
            "product=arithmetic(each.format_of(dtype, product=True))",
            "product=arithmetic(each.format_of(dtype, product=False))",
            "deviation::products_in_another_format_leave_the_bias_and_its_gradient_as_they_are",
        ),
    ),
    *of(
        "reference.product",
        (
            "a rounded product is free",
            "return error + arithmetic.u * magnitude if arithmetic.rounds_each_product else error",
            "return error",
            "deviation_sums::how_much_more_a_sum_is_allowed_follows_from_how_it_is_rounded",
        ),
    ),
    *of(
        "reference.product",
        (
            "the padding has a bound",
            "allowed=np.where(rows[:, None], 0.0, result.allowed)",
            "allowed=result.allowed",
            "deviation_sums::an_infinity_that_meets_a_padding_of_zeros_makes_its_sums_nan",
        ),
    ),
)
