"""Models behind HTTP APIs: OpenAI and compatible servers, Gemini, Voyage, Cohere, nestvec."""
