"""All mutations: `tests.power.mutation_runner` runs them, `test_mutations.py` demands that each is noticed."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation
from tests.power.mutations_of_answers import MUTATIONS as OF_ANSWERS
from tests.power.mutations_of_checks import MUTATIONS as OF_CHECKS
from tests.power.mutations_of_comparison import MUTATIONS as OF_COMPARISON
from tests.power.mutations_of_deviations import MUTATIONS as OF_DEVIATIONS
from tests.power.mutations_of_enclosures import MUTATIONS as OF_ENCLOSURES
from tests.power.mutations_of_ledger import MUTATIONS as OF_LEDGER
from tests.power.mutations_of_outcomes import MUTATIONS as OF_OUTCOMES
from tests.power.mutations_of_products import MUTATIONS as OF_PRODUCTS
from tests.power.mutations_of_questions import MUTATIONS as OF_QUESTIONS
from tests.power.mutations_of_relations import MUTATIONS as OF_RELATIONS
from tests.power.mutations_of_steps import MUTATIONS as OF_STEPS
from tests.power.mutations_of_values import MUTATIONS as OF_VALUES
from tests.power.mutations_of_verdicts import MUTATIONS as OF_VERDICTS

MUTATIONS: Final[tuple[Mutation, ...]] = (
    *OF_COMPARISON,
    *OF_CHECKS,
    *OF_VALUES,
    *OF_RELATIONS,
    *OF_STEPS,
    *OF_VERDICTS,
    *OF_LEDGER,
    *OF_ENCLOSURES,
    *OF_PRODUCTS,
    *OF_DEVIATIONS,
    *OF_QUESTIONS,
    *OF_OUTCOMES,
    *OF_ANSWERS,
)
