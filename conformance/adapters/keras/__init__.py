"""Keras: version 3 on each backend, version 2, and the layers that compute what Dense does."""
