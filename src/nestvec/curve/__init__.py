"""The measured curve of a model, and its file."""
