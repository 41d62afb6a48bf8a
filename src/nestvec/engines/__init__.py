"""Store and search vectors: one protocol, and one small package per engine."""
