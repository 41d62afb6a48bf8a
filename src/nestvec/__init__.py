"""Know what each dimension and bit of your embeddings is worth, and search with just those."""
