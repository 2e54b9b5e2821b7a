"""
The expectations of the steps of one question, under the rule and under declared behaviours.

`Expected` is the rule. `Declared` applies behaviours to the steps that they cover. If a behaviour holds only sometimes,
a step that satisfies the rule is compared with the rule.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from conformance.checks.question import Question
from conformance.ledger.acceptance import accepted_reference
from conformance.ledger.behaviour import Behaviour
from conformance.ledger.expectation import (
    Conflict,
    Covering,
    Expectation,
    alternatives,
    dtypes_of_rule,
    expectation_under,
)
from conformance.ledger.step import ModelStep, Surroundings
from conformance.reference import Reference
from conformance.reference.enclosure import Enclosure
from conformance.table.case import Case


class Expected:
    """The rule's expectation of each step of a question."""

    def __init__(self, case: Case, question: Question) -> None:
        self.case = case
        self.question = question
        self._dtypes = dtypes_of_rule(case.dtype, case.input_dtype)

    def of(self, label: str) -> Expectation:
        """Return what the step of a label should answer."""
        probe = self.question.by_label.get(label)
        dtypes = self._dtypes if probe is None or probe.dtype is None else dtypes_of_rule(probe.dtype, None)
        return Expectation(dtypes=dtypes, reference=None if probe is None else probe.reference)

    def output(self, label: str) -> Enclosure:
        """Return what encloses the output of a step that computes one."""
        reference = self._reference(label)
        if reference is not None:
            return reference.y
        main = self.question.main
        assert main is not None, "a question that computes has a main output"
        return self.question.by_label[label].derived_output(main.y)

    def line(self, label: str) -> str:
        """Return the class of the bound of a step. A step that follows from the main one has that one's."""
        reference = self._reference(label) or self.question.main
        return "" if reference is None else reference.line

    def _reference(self, label: str) -> Reference | None:
        probe = self.question.by_label.get(label)
        return None if probe is None else probe.reference


#: Whether the answer to a step, by its label, satisfies an expectation.
Satisfies = Callable[[str, Expectation], bool]


class Declared(Expected):
    """
    The expectations of the steps under behaviours.

    `satisfies` decides for each step which of the behaviours that hold sometimes it shows. Without it, it shows all.
    """

    def __init__(
        self,
        case: Case,
        question: Question,
        steps: Mapping[str, ModelStep],
        surroundings: Surroundings,
        behaviours: Sequence[Behaviour],
        satisfies: Satisfies | None = None,
    ) -> None:
        super().__init__(case, question)
        self._steps = steps
        self._surroundings = surroundings
        self._behaviours = tuple(behaviours)
        self._satisfies = satisfies
        #: Why the behaviours of a step cannot be applied together. Such a step is compared with the rule.
        self.conflict: Conflict | None = None
        self._found: dict[str, Expectation] = {}

    def of(self, label: str) -> Expectation:
        """Return what the step of a label should answer."""
        if label not in self._found:
            self._found[label] = self._expectation(label)
        return self._found[label]

    def output(self, label: str) -> Enclosure:
        """Return what encloses the output of a forward step."""
        found = self.of(label)
        if not found.behaviours or found.reference is None:
            return super().output(label)
        return found.reference.y

    def covering(self, label: str) -> tuple[Covering, ...]:
        """Return the behaviours that cover a step, each with the layers it applies to."""
        step = self._steps[label]
        reached = ((each, each.covered_layers(step, self._surroundings, self.case.id)) for each in self._behaviours)
        return tuple((each, layers) for each, layers in reached if layers)

    def _expectation(self, label: str) -> Expectation:
        rule = super().of(label)
        covering = self.covering(label)
        if not covering:
            return rule
        always = tuple(each for each in covering if each[0].sometimes is None)
        maybe = tuple(each for each in covering if each[0].sometimes is not None)
        # The fewest of those that hold sometimes that explain the answer. If none do, those that hold always.
        choices = [each for chosen in _subsets(maybe) for each in alternatives((*always, *chosen))]
        for chosen in choices if len(choices) > 1 and self._satisfies is not None else ():
            try:
                found = self._under(label, rule, chosen)
            except Conflict:
                continue  # these contradict each other
            if self._satisfies is not None and self._satisfies(label, found):
                return found
        try:
            return self._under(label, rule, always if self._satisfies is not None else covering)
        except Conflict as conflict:
            # `conformance lint` finds this on rows of the table. For other rows the cell is red and names the entries.
            self.conflict = conflict
            return rule

    def _under(self, label: str, rule: Expectation, covering: tuple[Covering, ...]) -> Expectation:
        if not covering:
            return rule
        step = self._steps[label]
        found = expectation_under(rule, step, covering, self.question.by_label[label].draw)
        if found.accepts is not None and step.x is not None:
            reference = accepted_reference(found.accepts, step.stack, step.x)
            if reference is None:
                return rule
            found = Expectation(
                dtypes=found.dtypes, reference=reference, accepts=found.accepts, behaviours=found.behaviours
            )
        return found


def _subsets(covering: Sequence[Covering]) -> Iterator[tuple[Covering, ...]]:
    """Yield the subsets of behaviours, smallest first."""
    for count in range(len(covering) + 1):
        yield from itertools.combinations(covering, count)
