"""Which code a product becomes: micro-kernels, packing, blocking. Text comes out, nothing is run."""
