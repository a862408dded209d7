"""Engines multiply matrix views: `blas` through NumPy, `jit` through machine code made for this CPU.

Nothing here knows what a convolution is; the words are View, Product and Epilogue (`convmat.product`).
"""
