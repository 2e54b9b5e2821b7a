"""A plain function of NumPy, PyTorch, JAX or TensorFlow arrays, checked as a layer."""
