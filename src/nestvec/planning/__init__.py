"""Curve + budget -> plan: the cheapest point that keeps what is asked, and why."""
