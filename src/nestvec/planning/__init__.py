"""Curve + budget -> plan: the cheapest operating point that meets the target, with reasons."""
