"""Truncate, renormalize and quantize embeddings."""
