"""Fewer nodes with the same answer: rules, each a function, tried at every node until none applies."""
