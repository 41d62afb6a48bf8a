"""The index of texts: an engine joined to a model, and the functions that build and change it."""
