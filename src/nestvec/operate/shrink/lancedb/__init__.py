"""Shrink a table of LanceDB in place."""
