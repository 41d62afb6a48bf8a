"""Print the schema, the index and the query of an operating point for other engines."""
