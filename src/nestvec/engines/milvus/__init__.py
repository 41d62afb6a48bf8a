"""The engine of Milvus servers and of Milvus Lite."""
