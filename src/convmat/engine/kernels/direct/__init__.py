"""The direct kernels: x is read in place, since packing a panel would cost as much as multiplying it."""
