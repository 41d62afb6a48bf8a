"""Train Matryoshka models: nested losses, tokenizers, static models from scratch."""
