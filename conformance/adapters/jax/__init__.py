"""Libraries on JAX arrays."""
