"""Mutations of the checks of shapes, weights and refusal, and of what is evidence."""

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
            "checks::a_declined_check_is_unsupported_only_with_a_reason_in_the_registry",
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
            "if observed != expected:\n                which",
            "if False:\n                which",
            "checks::a_changed_answer_turns_its_checks_red",
        ),
        (
            "the dtype of the main output alone",
            "*evidence.answers(self.name, others, Output, []),",
            "",
            "reports::a_fault_after_the_first_report_is_found",
        ),
        (
            "parameters before the weights are replaced alone",
            'labels = dict.fromkeys(("parameters", *again))',
            'labels = dict.fromkeys(("parameters",))',
            "reports::a_fault_after_the_first_report_is_found",
        ),
        (
            "placement ignored",
            "if answer.placement != subject.device:",
            "if False:",
            "checks::a_changed_answer_turns_its_checks_red",
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
            "relations::every_output_read_back_and_of_every_layout_is_looked_at",
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
        "checks.side_effects",
        (
            "operands may change",
            "if reply.changed_operands}",
            "if False}",
            "side_effects::a_fault_that_no_value_shows_is_found",
        ),
        (
            "results may change",
            "if reply.changed_results}",
            "if False}",
            "side_effects::a_fault_that_no_value_shows_is_found",
        ),
    ),
    *of(
        "sandbox.side_effects",
        (
            "contents are equal as numbers",
            "one.tobytes() == other.tobytes()",
            "bool((one == other).all())",
            "side_effects::the_first_result_of_a_kind_is_compared_byte_for_byte",
        ),
        (
            "weights are compared with themselves",
            'weights.append((f"{name} of layer {index}", copies[name], array))',
            'weights.append((f"{name} of layer {index}", array, array))',
            "side_effects::weights_are_compared_until_the_step_that_replaces_them",
        ),
        (
            "weights that are replaced may change",
            "yield from self._replaced",
            "yield from ()",
            "side_effects::weights_are_compared_until_the_step_that_replaces_them",
        ),
        (
            "the last bytes of a large array are not compared",
            "return is_same and np.array_equal(words[whole:], others[whole:])",
            "return is_same",
            "side_effects::arrays_of_any_size_are_compared_to_their_last_byte",
        ),
    ),
    *of(
        "checks.state",
        (
            "outputs of other models are not compared",
            "findings += compared_outputs(self.name, evidence, [probe.label], outputs)",
            "outputs.clear()",
            "state::what_is_left_behind_shows_where_models_take_turns_alone",
        ),
        (
            "every row has other models",
            "self.name in (case.checks or ())",
            "self.name in (case.checks or (self.name,))",
            "state::only_rows_that_name_the_check_have_it",
        ),
    ),
    *of(
        "checks.positions",
        (
            "one position encloses all",
            "allowed = np.full_like(flat.allowed, np.inf)",
            "allowed = flat.allowed.copy()",
            "step::whatever_a_step_may_do_instead_it_may_do_sometimes",
        ),
    ),
)
