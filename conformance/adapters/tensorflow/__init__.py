"""TensorFlow below Keras: a module with its products, and version 1 of the interface."""
