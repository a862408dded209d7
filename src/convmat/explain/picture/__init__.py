"""Picture: the boards drawn as SVG or pixels, still or moving."""
