"""First answers without preparing: what a Program does, written down by the process that prepared it."""
