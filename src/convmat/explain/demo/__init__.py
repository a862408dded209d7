"""Demo: a photograph through banks of filters and through a network that finds faces."""
