"""The kernel of products with constant transforms whose sum runs over pieces of a long filter."""
