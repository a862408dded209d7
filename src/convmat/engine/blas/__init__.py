"""The blas engine: the same products with NumPy's matmul."""
