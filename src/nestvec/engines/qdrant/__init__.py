"""The engine for Qdrant Edge, the embedded form of Qdrant."""
