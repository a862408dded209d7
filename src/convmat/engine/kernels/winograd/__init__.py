"""The kernel of products with constant transforms over two window axes."""
