"""Rankings, retrieval metrics, and confidence bounds of metrics."""
