"""Texts: retrieval sets, training pairs, and the docstrings of this Python installation."""
