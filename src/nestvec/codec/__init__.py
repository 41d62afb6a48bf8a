"""Embeddings to codes: truncate, renormalize, quantize. The only place that does any of these."""
