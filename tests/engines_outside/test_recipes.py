"""Recipes with the clients of their engines: some are run, others are checked by their models.

LanceDB is the engine itself. Milvus Lite and the local mode of Qdrant's client accept the calls of
their servers. For the other engines no server can be started here: the names and the types of all
settings are compared with those that the official clients know.
"""

import inspect
import json
import re
from types import SimpleNamespace
from typing import get_args, get_type_hints
from unittest.mock import MagicMock

import numpy as np
import opensearch.protobufs.schemas.common_pb2 as opensearch
import pytest
import vespa.package as vespa
import weaviate
from azure.search.documents.indexes import models as azure_index
from azure.search.documents.models import VectorizedQuery
from azure.search.documents.models._models import SearchRequest
from elasticsearch import Elasticsearch
from elasticsearch.dsl import DenseVector, types
from elasticsearch.dsl import query as elastic_query
from weaviate.collections.classes.config import _CollectionConfigCreate
from weaviate.collections.queries.near_vector.query.sync import _NearVectorQuery

from nestvec.codec.prefix import prefix
from nestvec.export.recipes.writing import recipe
from nestvec.types import PRECISIONS, OperatingPoint

N, FULL_DIM, K = 400, 64, 10
RNG = np.random.default_rng(3)
SPREAD = (1 + np.arange(FULL_DIM)) ** -0.4
VECTORS = (RNG.standard_normal((N, FULL_DIM)) * SPREAD).astype(np.float32)
QUERY = (RNG.standard_normal(FULL_DIM) * SPREAD).astype(np.float32)
IDS = [f"d{n}" for n in range(N)]
ONE, TWO, THREE = "32:float32", "16:int8@100>64:float32", "16:int8@200>32:int8@60>64:float32"
ALL_PRECISIONS = tuple(f"64:{precision}@60>128:float32" for precision in PRECISIONS)
POINTS = (ONE, TWO, THREE, "64:int8@50>64:float32", *ALL_PRECISIONS)
METRICS = ("ip", "cosine")


def python_of(written):
    return "\n\n".join(part.text for part in written.parts if part.language == "python")


def bodies(written):
    """Return the JSON bodies by title, with vectors in the place of their names."""
    found = {}
    for part in written.parts:
        if part.language == "console":
            text = re.sub(
                r'"(?:QUERY|VECTOR)_(\d+)"',
                lambda match: json.dumps([0.5] * int(match[1])),
                part.text.split("\n", 1)[1],
            )
            found[part.title] = json.loads(text)
    return found


def run(written, *replaced, **names):
    """Run the Python parts, and return the names that they define."""
    code = python_of(written)
    for old, new in replaced:
        assert old in code
        code = code.replace(old, new)
    namespace = {"ids": IDS, "vectors": VECTORS, "query": QUERY, **names}
    exec(code, namespace)
    return namespace


def exhaustive(text):
    """Return the ids that the stages find without quantizers."""
    found = np.arange(N)
    for stage in OperatingPoint.parse(text).stages:
        scores = prefix(VECTORS[found], stage.dim) @ prefix(QUERY[None], stage.dim)[0]
        found = found[np.argsort(-scores, kind="stable")[: stage.keep or K]]
    return [IDS[n] for n in found]


def assert_found(ids, text, least=K):
    assert len(ids) == len({*ids}) == K
    assert len({*ids} & {*exhaustive(text)}) >= least, (ids, exhaustive(text))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", [ONE, TWO, THREE, "64:int8@50>64:float32"])
def test_lancedb_finds_what_numpy_finds(text, metric, tmp_path):
    written = recipe(text, FULL_DIM, "lancedb", metric=metric)
    names = run(written, ('"data/lancedb"', repr(str(tmp_path / "data"))))
    assert len(names["table"].list_indices()) == 1
    assert_found(names["hits"], text, K if text == ONE else K - 1)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_lancedb_builds_the_index_of_each_precision(precision, tmp_path):
    text = f"32:{precision}@200>64:float16"
    written = recipe(text, FULL_DIM, "lancedb")
    names = run(written, ('"data/lancedb"', repr(str(tmp_path / "data"))))
    (index,) = names["table"].list_indices()
    assert names["table"].index_stats(index.name).num_indexed_rows == N
    assert_found(names["hits"], text, K - 2)


def test_lancedb_applies_the_filter_before_it_counts(tmp_path):
    written = recipe(TWO, FULL_DIM, "lancedb")
    place = ('"data/lancedb"', repr(str(tmp_path / "data")))
    some = ('["news"] * len(ids)', '["news" if n % 4 else "rare" for n in range(len(ids))]')
    names = run(written, place, some, ("where = None", "where = \"category = 'rare'\""))
    assert len(names["hits"]) == K
    assert all(int(id_[1:]) % 4 == 0 for id_ in names["hits"])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", [ONE, TWO, THREE, "64:int8@50>64:float32"])
def test_milvus_lite_finds_what_numpy_finds(text, metric, tmp_path):
    written = recipe(text, FULL_DIM, "milvus", metric=metric)
    names = run(written, ('"http://localhost:19530"', repr(str(tmp_path / "milvus.db"))))
    try:
        assert_found([hit["id"] for hit in names["hits"]], text, K - 1)
    finally:
        names["client"].close()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", [ONE, TWO, THREE, "64:int8@50>64:float32"])
def test_the_client_of_qdrant_finds_what_numpy_finds(text, metric):
    written = recipe(text, FULL_DIM, "qdrant", metric=metric)
    names = run(written, ('"http://localhost:6333"', '":memory:"'))
    assert_found([hit.payload["id"] for hit in names["hits"]], text)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_qdrant_knows_the_quantizer_of_each_precision(precision):
    written = recipe(f"32:{precision}@60>64:float16", FULL_DIM, "qdrant")
    names = run(written, ('"http://localhost:6333"', '":memory:"'))
    assert len(names["hits"]) == K


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", POINTS)
def test_elasticsearch_knows_the_fields_and_the_search(text, metric):
    sent = bodies(recipe(text, 128, "elasticsearch", metric=metric))
    options = set(inspect.signature(types.DenseVectorIndexOptions.__init__).parameters)
    kinds = literals(types.DenseVectorIndexOptions.__init__, "type")
    field_names = set(inspect.signature(DenseVector.__init__).parameters)
    vectors = {
        name: field
        for name, field in sent["Index"]["mappings"]["properties"].items()
        if field["type"] == "dense_vector"
    }
    for name, field in vectors.items():
        assert {*field} - {"type"} <= field_names
        assert {*field.get("index_options", {})} <= options
        if field["index"]:
            assert field["index_options"]["type"] in kinds
            assert field["similarity"] in {"cosine", "dot_product"}
        assert len(sent["Document"][name]) == field["dims"]
    query = {"source" if k == "_source" else k: v for k, v in sent["Query"].items()}
    inspect.signature(Elasticsearch.search).bind(None, index="docs", **query)
    knn = set(inspect.signature(elastic_query.Knn.__init__).parameters)
    assert {*query["knn"]} <= knn
    assert {*query["knn"].get("rescore_vector", {})} <= {"oversample"}
    assert len(query["knn"]["query_vector"]) == vectors[query["knn"]["field"]]["dims"]
    for each in query.get("rescore", []):
        elastic_query.Q(each["query"]["rescore_query"])  # knows both queries


def literals(function, name):
    """Return the allowed texts of a parameter."""
    import elastic_transport.client_utils as client_utils

    hints = get_type_hints(function, localns={"DefaultType": client_utils.DefaultType})
    return {text for option in get_args(hints[name]) for text in get_args(option)}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", POINTS)
def test_opensearch_knows_the_search(text, metric):
    sent = bodies(recipe(text, 128, "opensearch", metric=metric))
    fields = sent["Index"]["mappings"]["properties"]
    ((name, knn),) = sent["Query"]["query"]["knn"].items()
    assert {*knn} <= names_of(opensearch.KnnQuery)
    assert len(knn["vector"]) == fields[name]["dimension"]
    assert knn.get("rescore", False) is False
    assert "enable" in names_of(opensearch.KnnQueryRescore)
    for each in sent["Query"].get("rescore", []):
        assert {*each} <= names_of(opensearch.Rescore)
        assert {*each["query"]} <= names_of(opensearch.RescoreQuery)
        script = each["query"]["rescore_query"]["script_score"]["script"]
        assert {*script} <= names_of(opensearch.InlineScript)
        scored = script["params"]
        assert len(scored["query_value"]) == fields[scored["field"]]["dimension"]


def names_of(message):
    return {field.name for field in message.DESCRIPTOR.fields}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", POINTS)
def test_azure_knows_every_name(text, metric):
    sent = bodies(recipe(text, 128, "azure", metric=metric))
    index = azure_index.SearchIndex(sent["Index"])
    assert_known(index, sent["Index"])
    assert index.vector_search.algorithms[0].parameters.metric in {
        each.value for each in azure_index.VectorSearchAlgorithmMetric
    }
    for each in index.vector_search.compressions or []:
        assert type(each) is not azure_index.VectorSearchCompression  # a known kind
    assert_known(SearchRequest(sent["Query"]), sent["Query"])
    for each in sent["Query"]["vectorQueries"]:
        assert_known(VectorizedQuery(each), each)
    vector = index.fields[-1]
    assert len(sent["Documents"]["value"][0][vector.name]) == vector.vector_search_dimensions


def assert_known(model, values):
    """Check the keys of a model, and of all models in it, against the names that it knows."""
    known = {field._rest_name: name for name, field in model._attr_to_rest_field.items()}
    for key, value in values.items():
        assert key in known, (type(model).__name__, key)
        inner = getattr(model, known[key])
        pairs = zip(inner, value, strict=True) if isinstance(value, list) else [(inner, value)]
        for one, raw in pairs:
            if isinstance(raw, dict):
                assert_known(one, raw)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", [*POINTS, "64:pq4@60>128:float32"])
def test_weaviate_accepts_the_collection_and_the_queries(text, metric, monkeypatch):
    created, searched = {}, []

    def create(name, **settings):
        created.update(_CollectionConfigCreate(name=name, **settings)._to_dict())
        return SimpleNamespace(batch=MagicMock(), query=SimpleNamespace(near_vector=near_vector))

    def near_vector(*arguments, **settings):
        call = inspect.signature(_NearVectorQuery.near_vector).bind(None, *arguments, **settings)
        searched.append(call.arguments)
        uuid = "0f7a1f6e-9d0b-5c41-8c1f-2f5f7f3f4a10"
        return SimpleNamespace(objects=[SimpleNamespace(uuid=uuid)])

    client = SimpleNamespace(collections=SimpleNamespace(create=create))
    monkeypatch.setattr(weaviate, "connect_to_local", lambda: client)
    vectors = np.concatenate([VECTORS, VECTORS], axis=1)
    run(recipe(text, 128, "weaviate", metric=metric), vectors=vectors, query=vectors[0])
    stages = OperatingPoint.parse(text).stages
    config = created["vectorConfig"]
    kinds = [each["vectorIndexType"] for each in config.values()]
    assert kinds == ["hnsw"] + ["flat"] * (len(stages) - 1)
    assert [call["limit"] for call in searched] == [stage.keep or K for stage in stages]
    assert [len(call["near_vector"]) for call in searched] == [stage.dim for stage in stages]
    assert [call["target_vector"] for call in searched] == [*config]
    first = config[searched[0]["target_vector"]]["vectorIndexConfig"]
    assert first["ef"] >= searched[0]["limit"]
    assert first["distance"] == {"ip": "dot", "cosine": "cosine"}[metric]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", POINTS)
def test_pyvespa_writes_the_same_schema(text, metric):
    written = recipe(text, 128, "vespa", metric=metric)
    (schema,) = [part.text for part in written.parts if part.language == "vespa"]
    made = pyvespa_schema(schema).schema_to_text
    assert normalized(schema) == normalized(made)
    query = bodies(written)["Query"]
    inputs = re.findall(r"(query\(\w+\)) tensor<\w+>\(x\[\d+\]\)", schema)
    assert [f"input.{name}" for name in inputs] == [key for key in query if key[:6] == "input."]
    inner = re.search(r"nearestNeighbor\((\w+), (\w+)\)", query["yql"])
    assert (f"field {inner[1]} " in schema, f"query({inner[2]})" in inputs) == (True, True)


def pyvespa_schema(text):
    """Build the schema with pyvespa from the values in the text."""
    fields = []
    for name, kind, body in re.findall(r"field (\w+) type (\S+) \{(.*?)\n {8}\}", text, re.DOTALL):
        indexing = re.search(r"indexing: (.*)", body)[1].split(" | ")
        metric = re.search(r"distance-metric: (\S+)", body)
        paged = re.search(r"attribute: (\S+)", body)
        graph = vespa.HNSW(metric[1], 16, 200) if metric else None
        fields.append(
            vespa.Field(name, kind, indexing, attribute=[paged[1]] if paged else None, ann=graph)
        )
    phases = dict(re.findall(r"(\w+)-phase \{\s+expression: (.*)", text))
    counts = dict(re.findall(r"(\w+)-phase \{\s+expression: .*\s+rerank-count: (\d+)", text))
    profile = vespa.RankProfile(
        "nestvec",
        inputs=re.findall(r"(query\(\w+\)) (tensor\S+)", text),
        first_phase=phases["first"],
        second_phase=phase(vespa.SecondPhaseRanking, "second", phases, counts),
        global_phase=phase(vespa.GlobalPhaseRanking, "global", phases, counts),
    )
    name = re.match(r"schema (\w+)", text)[1]
    schema = vespa.Schema(name=name, document=vespa.Document(fields=fields))
    schema.add_rank_profile(profile)
    return schema


def phase(kind, name, phases, counts):
    return kind(phases[name], rerank_count=int(counts[name])) if name in phases else None


def normalized(schema):
    """Return a schema without line breaks, and with braces in the place of colons."""
    text = re.sub(r"(expression|attribute): (.*)", r"\1 { \2 }", schema)
    return " ".join(text.split())
