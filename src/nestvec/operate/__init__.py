"""Measure, change and certify vectors where they are: databases and indexes that are in use."""
