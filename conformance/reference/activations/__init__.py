"""Activation functions and their slopes, with the error each may make."""
