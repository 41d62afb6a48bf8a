"""The engine for LanceDB, in a local folder or on object storage."""
