"""The index of texts that users open: an engine, a model, and what changes both together."""
