"""Filters on metadata: a tree of conditions, the text that users write, columns to match."""
