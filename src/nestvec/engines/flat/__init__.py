"""Exhaustive search of codes in memory: scan, score, rescore."""
