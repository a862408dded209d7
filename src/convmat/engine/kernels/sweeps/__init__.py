"""Sweeps: kernels that pass over whole arrays once, without a product in between."""
