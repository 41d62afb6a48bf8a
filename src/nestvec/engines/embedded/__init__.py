"""The embedded index: a folder that a person can trust with documents, searched in two stages.

SQLite is the commit point. A document is there when, and only when, SQLite says so; its vector
lies in an append-only segment file; codes are a cache that can be made again from the vectors.
Nothing is pickled.
"""
