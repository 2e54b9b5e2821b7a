"""`conformance explain`: the rule in numbers and in the code of each framework."""
