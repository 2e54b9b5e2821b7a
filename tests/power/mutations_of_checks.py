"""Mutations of the checks, and of what they take for evidence."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "checks.finding",
        (
            "a step that was never reached conforms",
            "raise Missing(Finding(check=check, outcome=VIOLATES, message=message, absence=Absence(unreached=True)))",
            "raise Missing(Finding(check=check, outcome=CONFORMS, message=message, absence=Absence(unreached=True)))",
            "checks::missing_evidence_violates",
        ),
        (
            "a step that raised conforms",
            "return replace(missing, message=message, raised=raised_record(reply, answer))",
            "return replace(missing, outcome=CONFORMS, message=message, raised=raised_record(reply, answer))",
            "comparison::missing_evidence_names_the_step_that_is_the_cause_and_who_raised",
        ),
        (
            "a step that declined conforms",
            "return replace(missing, message=message, absence=Absence(declined=answer.reason))",
            "return replace(missing, outcome=CONFORMS, message=message, absence=Absence(declined=answer.reason))",
            "checks::missing_evidence_violates",
        ),
        (
            "the cause is not followed",
            "if isinstance(answer, Unreached):\n        cause",
            "if False:\n        cause",
            "comparison::missing_evidence_names_the_step_that_is_the_cause_and_who_raised",
        ),
        (
            "the first module raised",
            "answer.modules[-1] if answer.modules",
            "answer.modules[0] if answer.modules",
            "comparison::missing_evidence_names_the_step_that_is_the_cause_and_who_raised",
        ),
        (
            "a finding's zeros are left out",
            "if value is not None and value != {}}",
            "if value}",
            "comparison::a_margin_of_nothing_is_on_the_record",
        ),
        (
            "all frames are the framework's",
            "return any(top in packages for top in below)",
            "return all(top in packages for top in below)",
            "relations::a_refusal_may_come_at_inference_and_is_no_declining",
        ),
        (
            "frames below the first of ours count",
            "tops[ours[-1] + 1 :]",
            "tops[ours[0] + 1 :]",
            "relations::a_call_back_into_the_adapter_is_no_frame_of_the_framework",
        ),
    ),
    *of(
        "checks.outputs",
        (
            "the row's output is not looked at",
            "if given.outcome == VIOLATES:",
            "if given.outcome == CONFORMS and False:",
            "comparison::the_row_s_own_output_is_held_to_the_reference_first",
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
            "comparison::the_same_output_is_held_to_each_reference_of_its_own",
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
        "checks.positions",
        (
            "the first position alone",
            "evidence.answers(self.name, separate, Output, findings)",
            "evidence.answers(self.name, [*separate][:1], Output, findings)",
            "relations::every_position_is_looked_at",
        ),
        (
            "positions kept ignored",
            "evidence.answers(self.name, replaced, Output, findings)",
            "evidence.answers(self.name, [*replaced][:0], Output, findings)",
            "relations::every_position_is_looked_at",
        ),
        (
            "the first position kept",
            "evidence.answers(self.name, replaced, Output, findings)",
            "evidence.answers(self.name, [*replaced][:1], Output, findings)",
            "relations::every_position_is_looked_at",
        ),
        (
            "any position's bits",
            "bitwise &= answer",
            "bitwise |= answer",
            "relations::bits_of_positions_agree_where_those_of_all_do",
        ),
        (
            "the first position is compared",
            "(each.reshape(shape)[[position]] for each",
            "(each.reshape(shape)[[0]] for each",
            "relations::every_position_is_looked_at",
        ),
    ),
    *of(
        "checks.refusal",
        (
            "any sibling step",
            "for label in SIBLING_STEPS:",
            "for label in SIBLING_STEPS[:1]:",
            "relations::a_refusal_needs_a_sibling_that_is_accepted",
        ),
        (
            "a sibling may be unreached",
            "isinstance(reply.answer, NoValue)",
            "isinstance(reply.answer, Raised | Malformed)",
            "relations::a_refusal_needs_a_sibling_that_is_accepted",
        ),
        (
            "refused at call or build",
            'REFUSAL_STEPS: Final = ("build", "infer", "output")',
            'REFUSAL_STEPS: Final = ("build", "output")',
            "relations::a_refusal_may_come_at_inference_and_is_no_declining",
        ),
        (
            "declined is refused",
            "not isinstance(reply.answer, Raised):\n                continue",
            "not isinstance(reply.answer, Raised | Declined):\n                continue",
            "relations::a_refusal_may_come_at_inference_and_is_no_declining",
        ),
        (
            "accepted is refused",
            'return Finding(\n            check=self.name, outcome=VIOLATES, message=message, expected="refused"',
            'return Finding(\n            check=self.name, message=message, expected="refused"',
            "relations::a_refusal_may_come_at_inference_and_is_no_declining",
        ),
    ),
    *of(
        "checks.shapes",
        (
            "last inferred shape alone",
            "if observed != tuple(expected):",
            "if observed[-1] != expected[-1]:",
            "relations::shapes_are_inferred_for_the_batch_and_of_every_layer",
        ),
        (
            "the batch is unknown",
            "if batch is not None:",
            "if False:",
            "relations::shapes_are_inferred_for_the_batch_and_of_every_layer",
        ),
        (
            "rank for shape",
            "if shape != wanted:",
            "if len(shape) != len(wanted):",
            "relations::the_shape_of_every_array_is_looked_at_and_not_its_rank",
        ),
        (
            "first array's shape",
            "evidence.answers(self.name, arrays, Output, findings)",
            "evidence.answers(self.name, [*arrays][:1], Output, findings)",
            "relations::the_shape_of_every_array_is_looked_at_and_not_its_rank",
        ),
        (
            "own count of the first layer",
            "int(answer.own_count) != sum(expected)",
            "int(answer.own_count) != expected[0]",
            "relations::every_layer_s_parameters_are_counted",
        ),
        (
            "a bias everywhere",
            "if each.use_bias else {})}",
            "if True else {})}",
            "relations::a_layer_without_bias_has_none_and_axes_of_one_may_come_and_go",
        ),
        ("names ignored", "if names != sorted(wanted):", "if not set(names) <= set(wanted):", "checks::parameters"),
        (
            "axes of one count",
            "shape = [axis for axis in wanted[found.name] if axis != 1]",
            "shape = [axis for axis in wanted[found.name]]",
            "relations::a_layer_without_bias_has_none_and_axes_of_one_may_come_and_go",
        ),
        ("dtype of parameters ignored", "if found.dtype != dtype:", "if False:", "checks::parameters"),
        ("trainability ignored", "if not found.trainable:", "if False:", "checks::parameters"),
        (
            "features of the first layer",
            "features = each.units  # type",
            "features = features  # type",
            "relations::every_layer_s_parameters_are_counted",
        ),
        (
            "parameters of no layer",
            "if any(found.layer not in range(len(case.layers))",
            "if all(found.layer not in range(len(case.layers))",
            "relations::every_layer_s_parameters_are_counted",
        ),
        (
            "the output's dtype ignored",
            'if observed != expected:\n                message = f"the output is',
            'if False:\n                message = f"the output is',
            "checks::a_changed_answer_turns_its_checks_red",
        ),
        (
            "placement ignored",
            "if answer.placement != subject.device:",
            "if False:",
            "checks::a_changed_answer_turns_its_checks_red",
        ),
    ),
    *of(
        "checks.judgement",
        (
            "excused without a reason",
            "if finding.declined is None or reason is None:",
            "if finding.declined is None:",
            "checks::missing_evidence_violates",
        ),
        (
            "a finding is unsupported",
            "return replace(finding, outcome=UNSUPPORTED, message=reason)",
            "return replace(finding, outcome=CONFORMS, message=reason)",
            "checks::what_is_declined_is_unsupported_where_the_registry_says_why_alone",
        ),
    ),
    *of(
        "checks.linearity",
        (
            "f(0) dropped",
            "given = together + nothing",
            "given = together",
            "metamorphic::a_right_layer_satisfies_every_relation",
        ),
        (
            "f(x') dropped",
            "exact=x + signs + apart",
            "exact=x + apart",
            "metamorphic::a_right_layer_satisfies_every_relation",
        ),
        (
            "additive to nothing",
            'given, total, "exact"',
            'x + signs + apart, total, "exact"',
            "metamorphic::a_fault_the_values_do_not_show_is_found_by_its_relation",
        ),
        (
            "additive roughly",
            "np.isfinite(apart), radius, np.inf)",
            "np.isfinite(apart), radius + 2.0, np.inf)",
            "metamorphic::a_fault_the_values_do_not_show_is_found_by_its_relation",
        ),
        (
            "shapes of the addends",
            "if len(shapes) > 1:",
            "if len(shapes) > 9:",
            "metamorphic::outputs_are_additive_in_all_four_or_not_at_all",
        ),
    ),
    *of(
        "checks.rearrangement",
        (
            "axes of the permuted",
            "if main is not None and main.shape != enclosure.exact.shape:",
            "if False:",
            "metamorphic::permuted_outputs_differ_by_both_bounds_at_most",
        ),
    ),
    *of(
        "checks.memory_layouts",
        (
            "no strides recorded",
            'return replace(found, facts={**found.facts, "strides": strides} if strides else found.facts)',
            "return found",
            "metamorphic::every_output_read_back_and_of_every_layout_is_looked_at",
        ),
    ),
    *of(
        "checks.weights",
        (
            "new weights' gradients ignored",
            "findings += compared_gradients(self.name, subject.case, evidence, gradients)\n        found",
            "found",
            "relations::outputs_and_gradients_both_follow_new_weights",
        ),
        (
            "new weights' outputs ignored",
            "findings = compared_outputs(self.name, evidence, outputs, {})\n        findings +=",
            "findings = []\n        findings +=",
            "relations::outputs_and_gradients_both_follow_new_weights",
        ),
        (
            "old weights for new",
            "[each.label for each in question.of(OutputProbe) if each.after_new_weights]",
            "[each.label for each in question.of(OutputProbe) if not each.after_new_weights]",
            "checks::a_changed_answer_turns_its_checks_red",
        ),
        (
            "the first output read back",
            "return worst_of(self.name, compared_outputs(self.name, subject.evidence, labels, {}))",
            "return worst_of(self.name, compared_outputs(self.name, subject.evidence, labels[:1], {}))",
            "metamorphic::every_output_read_back_and_of_every_layout_is_looked_at",
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
            "metamorphic::permuted_outputs_differ_by_both_bounds_at_most",
        ),
    ),
)
