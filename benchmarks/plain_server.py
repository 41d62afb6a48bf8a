"""A minimal embedding server, FastAPI around ``encode``, which ``serving.py`` compares with."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from sentence_transformers import SentenceTransformer


def main(folder: str, port: int) -> None:
    """Serve a model's embeddings."""
    model, app = SentenceTransformer(folder, device="cpu"), FastAPI()

    @app.post("/v1/embeddings")
    def embeddings(request: dict[str, Any]) -> dict[str, Any]:
        vectors = model.encode(request["input"], normalize_embeddings=True)
        data = [{"index": row, "embedding": each.tolist()} for row, each in enumerate(vectors)]
        return {"object": "list", "data": data, "model": request["model"]}

    uvicorn.run(app, port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
