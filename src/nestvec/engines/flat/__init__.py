"""Exhaustive search over codes in memory."""
