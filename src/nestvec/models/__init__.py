"""Encoders: Sentence Transformers, static tables, precomputed vectors, known models."""
