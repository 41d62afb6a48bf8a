"""The engine for a Qdrant server."""
