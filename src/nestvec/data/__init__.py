"""Load corpora, retrieval sets, query logs and training texts."""
