"""A plain function of NumPy, PyTorch, JAX or TensorFlow arrays, held as if it were a layer."""
