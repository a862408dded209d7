"""The kernel of products whose every element is a dot product of two long lines, of which C has few."""
