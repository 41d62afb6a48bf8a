#!/usr/bin/env bash
# google-genai 3.6.1: embed_content(contents=["a", "b"]) sends a different request for each model.
# For gemini-embedding-001, the request has two contents of one part each: one vector for each text.
# For gemini-embedding-2, it has one content of two parts: one vector for both texts together. The
# caller gets fewer vectors than texts, and no error. To get one vector for each text, send one
# text in each call, or check the number of vectors.
#
# Seen: gemini-embedding-001: 2 contents, 2 vectors; gemini-embedding-2: 1 content of 2 parts,
# 1 vector. A server on this machine records the requests and returns one vector for each content.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet google-genai==3.6.1
venv/bin/python - <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from google import genai
from google.genai import types

seen = []


class Recorder(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        contents = [each["content"] for each in body.get("requests", [body])]
        seen.append([len(content["parts"]) for content in contents])
        vectors = [{"values": [1.0, 0.0]} for _ in contents]
        answer = {"embeddings": vectors} if "requests" in body else {"embedding": vectors[0]}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Recorder)
threading.Thread(target=server.serve_forever, daemon=True).start()
options = types.HttpOptions(base_url=f"http://127.0.0.1:{server.server_port}")
client = genai.Client(api_key="any", vertexai=False, http_options=options)
found = {}
for model in ("gemini-embedding-001", "gemini-embedding-2"):
    seen.clear()
    vectors = client.models.embed_content(model=model, contents=["red", "green"]).embeddings
    found[model] = (seen[0], len(vectors))
    print(f"{model}: parts of each content {seen[0]}, vectors {len(vectors)}")
server.shutdown()
assert found == {"gemini-embedding-001": ([1, 1], 2), "gemini-embedding-2": ([2], 1)}
print("as described")
PYTHON
