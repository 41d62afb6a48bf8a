"""A server with the REST API of Qdrant, which answers from the local mode of qdrant-client.

Local mode is an implementation in Python. It searches exactly, and ignores graphs, quantization,
indexes of the payload and types of vectors. Bodies are parsed with the classes of qdrant-client,
which refuse unknown keys. The texts of errors are those of a server.
"""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models

MOST_BYTES = 32 * 1024 * 1024
"""The largest request, as ``max_request_size_mb`` of a server has it."""


class RestServer(ThreadingHTTPServer):
    """The server and what it received.

    Attributes:
        received: The method, the path and the body of each request.
        answers: The next answers, by status; each replaces the answer of one request.
        dropped: Number of requests whose work is done and whose connection is then closed.
        api_key: The key that requests must have; None without one.
        before: A function that is called with the method and the path before each request.
    """

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.local = QdrantClient(":memory:")
        self.lock = threading.RLock()
        self.received, self.answers = [], []
        self.dropped, self.api_key, self.version = 0, None, "1.20.0"
        self.before = lambda method, path: None

    @property
    def url(self):
        """The URL without the name of an index."""
        return f"qdrant://127.0.0.1:{self.server_address[1]}"

    def bodies(self, method, path):
        """Return the bodies that were sent to paths that end with a text."""
        found = [each for each in self.received if each[0] == method and each[1].endswith(path)]
        return [body for _, _, body in found]


class Handler(BaseHTTPRequestHandler):
    """Answer requests one after the other."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Print nothing."""

    def handle_one(self):
        """Answer one request."""
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        server = self.server
        server.before(self.command, path)
        with server.lock:
            server.received.append((self.command, path, content))
            status, result = self.result(path, content)
            if server.dropped and path != "/":
                server.dropped -= 1
                self.close_connection = True
                return
        text = "ok" if status == 200 else {"error": result}
        answer = {"result": result, "status": text, "time": 0.0}
        if path == "/":
            answer = {"title": "qdrant", "version": server.version}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_one

    def result(self, path, content):
        """Return the status and the result of a request."""
        server = self.server
        if server.api_key not in (None, self.headers.get("api-key")):
            return 401, "Must provide an API key or an Authorization bearer token"
        if server.answers:
            return server.answers.pop(0), "busy"
        if len(content) > MOST_BYTES:
            return 413, "Payload too large"
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                try:
                    return 200, to_jsonable_python(answer(server.local, content, *match.groups()))
                except KeyError as error:
                    return 404, f"Not found: No point with id {error.args[0]} found"
                except ValueError as error:
                    return error_of(str(error))
        return 404, f"no route for {self.command} {path}"


def error_of(text):
    """Return the status and the text of a server for an error of local mode."""
    collection = re.fullmatch(r"Collection (\S+) not found", text)
    if collection:
        return 404, f"Not found: Collection `{collection[1]}` doesn't exist!"
    vector = re.fullmatch(r"Dense vector (\S+) is not found in the collection", text)
    if vector:
        return 400, f"Wrong input: Not existing vector name error: {vector[1]}"
    return 400, text


def create(local, content, name):
    body = models.CreateCollection.model_validate_json(content)
    return local.create_collection(name, vectors_config=body.vectors, metadata=body.metadata)


def update(local, content, name):
    body = models.UpdateCollection.model_validate_json(content)
    local.update_collection(name, vectors_config=body.vectors, metadata=body.metadata)
    return True


def upsert(local, content, name):
    body = models.PointsList.model_validate_json(content)
    return local.upsert(name, body.points)


def update_vectors(local, content, name):
    body = models.UpdateVectors.model_validate_json(content)
    return local.update_vectors(name, body.points, update_filter=body.update_filter)


def scroll(local, content, name):
    body = models.ScrollRequest.model_validate_json(content)
    points, offset = local.scroll(
        name,
        body.filter,
        body.limit,
        offset=body.offset,
        with_payload=body.with_payload,
        with_vectors=body.with_vector,
    )
    return {"points": points, "next_page_offset": offset}


def query(local, content, name):
    body = models.QueryRequestBatch.model_validate_json(content)
    return local.query_batch_points(name, body.searches)


def retrieve(local, content, name):
    body = models.PointRequest.model_validate_json(content)
    return local.retrieve(name, body.ids, body.with_payload, body.with_vector)


def create_vector(local, content, name, vector):
    (kind,) = json.loads(content)
    assert kind == "dense"
    body = models.DenseVectorNameConfig.model_validate_json(content)
    return local.create_vector_name(name, vector, body)


def create_index(local, content, name):
    body = models.CreateFieldIndex.model_validate_json(content)
    return local.create_payload_index(name, body.field_name, body.field_schema)


def facet(local, content, name):
    body = models.FacetRequest.model_validate_json(content)
    return local.facet(name, body.key, limit=body.limit, exact=body.exact)


def change_aliases(local, content):
    body = models.ChangeAliasesOperation.model_validate_json(content)
    return local.update_collection_aliases(body.actions)


def count(local, content, name):
    return local.count(name, models.CountRequest.model_validate_json(content).filter)


def delete(local, content, name):
    return local.delete(name, models.PointIdsList.model_validate_json(content))


ONE = r"/collections/([^/]+)"
ROUTES = [
    ("GET", "/", lambda local, _: None),
    ("GET", "/collections", lambda local, _: local.get_collections()),
    ("GET", "/aliases", lambda local, _: local.get_aliases()),
    ("POST", "/collections/aliases", change_aliases),
    ("GET", ONE, lambda local, _, name: local.get_collection(name)),
    ("PUT", ONE, create),
    ("PATCH", ONE, update),
    ("DELETE", ONE, lambda local, _, name: local.delete_collection(name)),
    ("GET", ONE + "/exists", lambda local, _, name: {"exists": local.collection_exists(name)}),
    ("PUT", ONE + "/vectors/([^/]+)", create_vector),
    (
        "DELETE",
        ONE + "/vectors/([^/]+)",
        lambda local, _, name, vector: local.delete_vector_name(name, vector),
    ),
    ("PUT", ONE + "/index", create_index),
    ("PUT", ONE + "/points", upsert),
    ("POST", ONE + "/points", retrieve),
    ("PUT", ONE + "/points/vectors", update_vectors),
    ("POST", ONE + "/points/scroll", scroll),
    ("POST", ONE + "/points/count", count),
    ("POST", ONE + "/points/delete", delete),
    ("POST", ONE + "/points/query/batch", query),
    ("POST", ONE + "/facet", facet),
]


@contextmanager
def serving(port=0):
    """Run a server on a port of the loopback interface; 0 for a free port."""
    server = RestServer(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.local.close()
