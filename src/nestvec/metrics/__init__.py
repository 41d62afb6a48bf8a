"""Rankings, metrics over them, and the statistics behind a statement about a metric."""
