"""Mutations of what is asked: the rule, what is drawn, relations, and which checks a case is held to."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "checks.linearity",
        (
            "any layer linear",
            'all(layer.activation == "linear"',
            'any(layer.activation == "linear"',
            "metamorphic::a_layer_that_is_not_linear_spoils_a_stack_for_relations_of_linear_ones",
        ),
        (
            "linear on any lane",
            'math.prod(case.call_shape) > 0 and case.lane == "exact"',
            "math.prod(case.call_shape) > 0",
            "metamorphic::a_case_has_the_relations_that_apply_to_it",
        ),
        (
            "x and its signs are x",
            "together = replace(first, x=(first.x + signs).astype(first.x.dtype))",
            "together = first",
            "metamorphic::a_linear_layer_has_steps_for_x_its_signs_their_sum_and_zero",
        ),
        (
            "asked where it is not exact",
            "if is_exact(together, [layer.activation for layer in case.layers], FORMATS[case.dtype]):",
            "if True:",
            "metamorphic::sums_that_would_be_rounded_are_not_checked_for_additivity",
        ),
    ),
    *of(
        "checks.rearrangement",
        (
            "permuted of two axes",
            "if case.leading_axes == 1 and rank > 2:\n            reverse",
            "if case.leading_axes == 1 and rank > 1:\n            reverse",
            "metamorphic::a_case_has_the_relations_that_apply_to_it",
        ),
        (
            "axes stay in order",
            "reverse = (*reversed(range(rank - 1)), rank - 1)",
            "reverse = tuple(range(rank))",
            "metamorphic::a_fault_the_values_do_not_show_is_found_by_its_relation",
        ),
        (
            "merged of two axes",
            'if case.leading_axes == 1 and rank > 2:\n            yield _reshaped(case, "merged"',
            'if case.leading_axes == 1 and rank > 1:\n            yield _reshaped(case, "merged"',
            "metamorphic::axes_are_rearranged_where_they_can_be",
        ),
        (
            "split of many axes",
            "if rank <= 3 and first > 0",
            "if rank <= 4 and first > 0",
            "metamorphic::axes_are_rearranged_where_they_can_be",
        ),
        (
            "split of none",
            "if rank <= 3 and first > 0",
            "if rank <= 3 and first > -1",
            "metamorphic::axes_are_rearranged_where_they_can_be",
        ),
        (
            "split in one and all",
            "range(2, math.isqrt(first) + 1)",
            "range(2, 2)",
            "metamorphic::axes_are_rearranged_where_they_can_be",
        ),
        (
            "an axis too many for softmax",
            "case.leading_axes + rank < most",
            "case.leading_axes + rank <= most",
            "metamorphic::axes_are_split_as_far_as_anyone_takes_so_many",
        ),
        (
            "unknown axes split",
            "if len(sizes) < rank:",
            "if len(sizes) < 1:",
            "metamorphic::axes_are_rearranged_where_they_can_be",
        ),
    ),
    *of(
        "checks.memory_layouts",
        (
            "layouts of one axis",
            "len(case.call_shape) > 1",
            "len(case.call_shape) > 0",
            "metamorphic::a_case_has_the_relations_that_apply_to_it",
        ),
        (
            "one layout alone",
            'for layout in ("transposed", "strided", "column_major", "padded", "unaligned"):',
            'for layout in ("transposed",):',
            "metamorphic::every_unit_vector_zero_and_every_layout_have_a_step",
        ),
        (
            "broadcast of one",
            "if len(first.x) > 1:",
            "if len(first.x) > 0:",
            "metamorphic::one_sample_is_broadcast_where_there_are_others",
        ),
        (
            "broadcast held to all samples",
            "reference=replace(main, y=moved_enclosure(main.y, _first_repeated))",
            "reference=main",
            "metamorphic::a_right_layer_satisfies_every_relation",
        ),
    ),
    *of(
        "checks.weights",
        (
            "one-hot input not asked",
            '(("zero", np.zeros_like(first.x)), ("one-hot", _one_hot(first.x)))',
            '(("zero", np.zeros_like(first.x)),)',
            "metamorphic::every_unit_vector_zero_and_every_layout_have_a_step",
        ),
        (
            "one-hot is the first feature",
            "np.arange(positions) % features] = 1",
            "0] = 1",
            "metamorphic::every_unit_vector_zero_and_every_layout_have_a_step",
        ),
    ),
    *of(
        "table.rule",
        (
            "m for d",
            "return (*input_shape[:-1], _count(units))",
            "return (*input_shape[1:], _count(units))",
            "rule::the_four_models_of_the_question",
        ),
        (
            "a bias always",
            "return kernel + _count(units) if use_bias else kernel",
            "return kernel + _count(units)",
            "rule::counts",
        ),
        (
            "counts of the first layer's features",
            "inputs = (tuple(input_shape), *output_shapes(input_shape, units)[:-1])",
            "inputs = (tuple(input_shape),) * len(units)",
            "rule::the_four_models_of_the_question",
        ),
        (
            "biases may be fewer",
            "for shape, each, bias in zip(inputs, units, biases, strict=True):",
            "for shape, each, bias in zip(inputs, units, biases, strict=False):",
            "rule::a_stack_has_a_layer_and_one_bias_for_each",
        ),
        (
            "an axis may be negative",
            "if axis is not None and not _is_count(axis):",
            "if False:",
            "rule::shapes_the_rule_forbids",
        ),
        (
            "the last axis may be unknown",
            "if shape[-1] is None:",
            "if shape[0] is None and len(shape) == 1:",
            "rule::shapes_the_rule_forbids",
        ),
        ("units of one or more", "and number >= 0", "and number > 0", "rule::one_layer"),
        ("units may be true", "and not isinstance(number, bool) ", "", "rule::units_that_are_no_count_are_forbidden"),
    ),
    *of(
        "reference.draw",
        (
            "sums of the accumulator",
            "limit = 2.0 ** min(FORMATS[form.accumulator].significand, form.significand)",
            "limit = 2.0 ** FORMATS[form.accumulator].significand",
            "draws::the_check_of_exactness_looks_at_every_sum_of_every_layer",
        ),
        (
            "float64 counts to 2**53",
            "limit -= limit == 2.0**53",
            "pass",
            "short_formats::a_sum_that_float64_would_round_is_not_exact",
        ),
        (
            "cancellation is relied upon",
            "a = a @ np.abs(kernel.astype(np.float64))",
            "a = np.abs(a @ kernel.astype(np.float64))",
            "draws::the_check_of_exactness_looks_at_every_sum_of_every_layer",
        ),
        (
            "the bias does not count",
            "a = a + np.abs(bias.astype(np.float64))",
            "pass",
            "draws::the_check_of_exactness_bites",
        ),
        (
            "below the limit",
            "if _largest(a) * grid > limit:",
            "if _largest(a) * grid >= limit:",
            "draws::the_check_of_exactness_bites",
        ),
        (
            "the grid of a kink ignored",
            "if _largest(a) * grid > limit:",
            "if _largest(a) > limit:",
            "draws::the_check_of_exactness_looks_at_every_sum_of_every_layer",
        ),
        (
            "forward alone",
            "if any(_largest(each) > limit for each in sums):",
            "if False:",
            "draws::the_check_of_exactness_bites",
        ),
        (
            "dW not looked at",
            "sums = (x.T @ dz * scale, dz.sum(axis=0),",
            "sums = (dz.sum(axis=0), dz.sum(axis=0),",
            "draws::the_check_of_exactness_bites",
        ),
        (
            "dW's grid not looked at",
            "sums = (x.T @ dz * scale,",
            "sums = (x.T @ dz,",
            "draws::the_check_of_exactness_looks_at_every_sum_of_every_layer",
        ),
        (
            "the last layer's gradient alone",
            "        dz = sums[2]\n",
            "        return True\n",
            "draws::the_check_of_exactness_looks_at_every_sum_of_every_layer",
        ),
        (
            "the first layer alone",
            "if _largest(a) * grid > limit:\n            return False",
            "if _largest(a) * grid > limit:\n            return False\n        break",
            "draws::there_is_one_exact_draw_for_each_operand_made_wide",
        ),
    ),
    *of(
        "checks.catalogue",
        (
            "what the row names is not kept to",
            "return tuple(each for each in CHECKS if case.has_check(each.name) and each.applies(case))",
            "return tuple(each for each in CHECKS if each.applies(case))",
            "checks::a_row_that_expects_an_error_has_only_the_check_refusal",
        ),
    ),
    *of(
        "checks.refusal",
        (
            "a refusal is not asked",
            "return case.expect.error",
            "return False",
            "checks::a_row_that_expects_an_error_has_only_the_check_refusal",
        ),
    ),
    *of(
        "checks.cell",
        (
            "any row names an implementation",
            "return any(fnmatch",
            "return all(fnmatch",
            "runner::one_name_of_a_row_is_enough_and_shapes_only_runs_shape_rows",
        ),
        (
            "shapes alone are asked all",
            'if implementation.shapes_only and case.lane != "shapes":',
            "if False:",
            "runner::one_name_of_a_row_is_enough_and_shapes_only_runs_shape_rows",
        ),
    ),
)
