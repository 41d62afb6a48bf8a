"""Adapters for frozen vectors: matrices that put what matters into the first dimensions."""
