"""Shrink the search of a table of PostgreSQL with pgvector."""
