"""What a network says of itself: nodes, products, memory and time, and how it compares with another runtime."""
