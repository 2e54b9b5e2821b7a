"""Mutations of the checks that compare values: outputs and gradients."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "checks.outputs",
        (
            "the row's output is not looked at",
            "if given.outcome == VIOLATES:",
            "if given.outcome == CONFORMS and False:",
            "comparison::the_row_s_own_output_is_checked_against_the_reference_first",
        ),
        (
            "the first draw's output only",
            "for label, answer in evidence.answers(check, labels, Output, findings):",
            "for label, answer in evidence.answers(check, [*labels][:1], Output, findings):",
            "checks::a_changed_answer_turns_its_checks_red",
        ),
        (
            "an answer to another question counts as the same",
            "any(to is enclosure and _is_same(y, other) for to, other in judged)",
            "any(_is_same(y, other) for to, other in judged)",
            "comparison::the_same_output_is_checked_against_each_of_its_references",
        ),
        (
            "an output of the same shape is the same",
            " and one.tobytes() == other.tobytes()",
            "",
            "checks::a_changed_answer_turns_its_checks_red",
        ),
        (
            "the second call alone",
            "        for label in others:\n",
            "        for label in others[:1]:\n",
            "comparison::two_answers_differ_by_the_sum_of_both_bounds_at_most",
        ),
        (
            "any call's bits",
            "all(outputs[label].tobytes() == outputs[first]",
            "any(outputs[label].tobytes() == outputs[first]",
            "comparison::bits_agree_where_those_of_all_calls_do",
        ),
        (
            "repeated in another dtype",
            "if outputs[label].dtype != outputs[first].dtype:",
            "if False:",
            "checks::a_changed_answer_turns_its_checks_red",
        ),
        (
            "bits are equal where numbers are",
            "outputs[label].tobytes() == outputs[first].tobytes()",
            "bool((outputs[label] == outputs[first]).all())",
            "comparison::bits_agree_where_those_of_all_calls_do",
        ),
        (
            "the row's output is not looked at by the suite",
            "if question.row_output is not None and question.main is not None:",
            "if False:",
            "runner::the_output_of_a_row_is_checked_against_the_reference",
        ),
    ),
    *of(
        "checks.gradients",
        (
            "the first draw's gradients only",
            "for label in labels:\n        for _, gradients",
            "for label in [*labels][:1]:\n        for _, gradients",
            "checks::each_gradient_is_looked_at",
        ),
        (
            "gradients of fewer layers",
            "if len(gradients.layers) != len(reference.layers):",
            "if len(gradients.layers) > len(reference.layers):",
            "comparison::gradients_are_of_every_layer_and_of_the_dtype",
        ),
        (
            "layers after the first ignored",
            "enumerate(zip(gradients.layers, reference.layers, strict=True)):",
            "enumerate(zip(gradients.layers[:1], reference.layers[:1], strict=True)):",
            "comparison::the_margin_of_each_kind_of_gradient_is_that_of_its_worst_layer",
        ),
        (
            "db ignored",
            "zip(_OF_WEIGHTS, got, exact, strict=True)",
            "zip(_OF_WEIGHTS[:1], got, exact, strict=False)",
            "comparison::a_gradient_of_a_bias_that_is_not_there_violates",
        ),
        (
            "dW ignored",
            "zip(_OF_WEIGHTS, got, exact, strict=True)",
            "zip(_OF_WEIGHTS[1:], got[1:], exact[1:], strict=True)",
            "comparison::the_margin_of_each_kind_of_gradient_is_that_of_its_worst_layer",
        ),
        (
            "dx ignored",
            'yield "dx", found.at(label, "dx")',
            "pass",
            "comparison::the_gradient_of_a_short_input_is_rounded_to_it",
        ),
        (
            "a missing dx is fine",
            "elif gradients.dx is None:\n        yield",
            "elif gradients.dx is None:\n        pass\n    elif False:\n        yield",
            "comparison::gradients_are_of_every_layer_and_of_the_dtype",
        ),
        (
            "integers have a dx",
            "if gradients.dx is not None:\n            message",
            "if False:\n            message",
            "comparison::integers_have_no_gradient",
        ),
        (
            "dx of a wide input is not rounded",
            "rounded = of_input != case.dtype and str(gradients.dx.dtype) == of_input",
            "rounded = False",
            "comparison::the_gradient_of_a_short_input_is_rounded_to_it",
        ),
        (
            "one gradient has the dtype",
            "    if weights:\n",
            "    if len(weights) == 2:\n",
            "comparison::gradients_are_of_every_layer_and_of_the_dtype",
        ),
        (
            "dx of another dtype",
            "if gradients.dx is not None and str(gradients.dx.dtype) != of_input:",
            "if False:",
            "comparison::gradients_are_of_every_layer_and_of_the_dtype",
        ),
        (
            "dx of the weights' dtype",
            'of_input = expectation.dtypes["dx"]\n        rounded',
            'of_input = expectation.dtypes["weights"]\n        rounded',
            "comparison::the_gradient_of_a_short_input_is_rounded_to_it",
        ),
        (
            "smallest margin of a gradient",
            "max(found.get(kind, 0.0), each.margin)",
            "min(found.get(kind, 0.0), each.margin)",
            "comparison::the_margin_of_each_kind_of_gradient_is_that_of_its_worst_layer",
        ),
        (
            "a gradient of no bias",
            "if (got is None) != (enclosure is None):",
            "if got is None and enclosure is not None:",
            "comparison::a_gradient_of_a_bias_that_is_not_there_violates",
        ),
        (
            "no gradient of a bias",
            "if (got is None) != (enclosure is None):",
            "if got is not None and enclosure is None:",
            "checks::a_missing_bias_gradient_violates",
        ),
    ),
    *of(
        "checks.enclosures",
        (
            "rows in order",
            "chosen = list(positions)",
            "chosen = sorted(positions)",
            "expectations::rows_count_over_the_flattened_leading_axes",
        ),
        (
            "permuted radius",
            "allowed=move(enclosure.allowed), tail",
            "allowed=move(enclosure.allowed) * 1e9, tail",
            "relations::permuted_outputs_differ_by_both_bounds_at_most",
        ),
    ),
)
