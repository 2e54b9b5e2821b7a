"""A run over several workers and machines."""
