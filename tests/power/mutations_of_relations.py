"""Mutations of the checks that compare answers with one another."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
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
        "checks.positions",
        (
            "the first positions alone",
            "return position_enclosure(main, self.positions)",
            "return position_enclosure(main, range(len(self.positions)))",
            "expectations::the_rule_gives_every_step_that_computes_its_own_output",
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
            "relations::outputs_are_additive_in_all_four_or_not_at_all",
        ),
    ),
    *of(
        "checks.linearity",
        (
            "the sum of one layer",
            "for kernel, bias in zip(self.draw.kernels, self.draw.biases, strict=True):",
            "for kernel, bias in list(zip(self.draw.kernels, self.draw.biases, strict=True))[:1]:",
            "expectations::the_rule_gives_every_step_that_computes_its_own_output",
        ),
    ),
    *of(
        "checks.rearrangement",
        (
            "axes of the permuted",
            "if main is not None and main.shape != enclosure.exact.shape:",
            "if False:",
            "relations::permuted_outputs_differ_by_both_bounds_at_most",
        ),
    ),
    *of(
        "checks.rearrangement",
        (
            "a rearranged output in order",
            "return moved_enclosure(main, self.move)",
            "return main",
            "expectations::the_rule_gives_every_step_that_computes_its_own_output",
        ),
    ),
    *of(
        "checks.memory_layouts",
        (
            "no strides recorded",
            'return replace(found, facts={**found.facts, "strides": strides} if strides else found.facts)',
            "return found",
            "relations::every_output_read_back_and_of_every_layout_is_looked_at",
        ),
    ),
)
