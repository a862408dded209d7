"""Story: what of a convolution is shown, on which boards, in which colours and with which numbers."""
