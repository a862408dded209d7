"""Terminal: plans, the worked example and a network's answers as text, and what a network is fed from there."""
