"""Products of 8-bit integers by dot products of four bytes: x channels last, every sum exact in int32."""
