"""Searches that are in use: indexes of nestvec, and tables that other programs wrote."""
