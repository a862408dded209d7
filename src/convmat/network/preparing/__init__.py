"""From a Graph and the shapes of its inputs to a Program: what is known beforehand, where values lie, what runs."""
