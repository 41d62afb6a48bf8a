"""The embedded engine: an index in a local folder, without a server.

SQLite stores the documents and is the commit point: the index contains exactly the documents that
SQLite has committed. Their vectors are in append-only segment files. Codes are a cache that can be
rebuilt from the vectors. No file is pickled.
"""
