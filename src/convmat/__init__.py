"""convmat: every convolution is a matrix product whose unrolled input need not exist."""
