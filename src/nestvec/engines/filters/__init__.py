"""Metadata filters: a tree of conditions, and the parser of the text form."""
