"""Webpage: a plan as one HTML file to step through, its JavaScript linked in."""
