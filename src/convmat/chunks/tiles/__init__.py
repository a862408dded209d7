"""Networks in tiles: which part of every value an output needs, and the network that computes just that."""
