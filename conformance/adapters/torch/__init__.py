"""PyTorch: Linear in each mode, and the layers that compute what it does."""
