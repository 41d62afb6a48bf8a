"""Serve an index, a model or both over HTTP: an OpenAI-compatible API and a web page."""
