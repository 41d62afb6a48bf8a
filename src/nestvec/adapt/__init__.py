"""Fit adapters on existing vectors: transforms that make truncated prefixes rank better."""
