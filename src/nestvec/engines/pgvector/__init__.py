"""The engine for PostgreSQL with pgvector."""
