"""Recipes for other engines: every engine renders every point, as valid code with the right sizes.

The tests in tests/engines_outside run the code, or check it with the clients of the engines.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from nestvec.codec.prefix import prefix
from nestvec.engines.pgvector.statements import VectorColumn, search_statement
from nestvec.engines.registry import engines
from nestvec.errors import InvalidArgument
from nestvec.export.recipes.request import RESULTS
from nestvec.export.recipes.writing import RECIPE_ENGINES, recipe
from nestvec.types import PRECISIONS, OperatingPoint

FULL_DIM = 768
ONE, TWO = "256:int4", "128:int8@200>768:float32"
THREE = "64:binary@1000>256:int8@100>768:float16"
SAME_DIM = "768:int8@50>768:float32"
POINTS = (ONE, TWO, THREE, SAME_DIM, "768:float32")


def parts_of(written, language):
    return [part for part in written.parts if part.language == language]


def bodies(written):
    """Return the JSON bodies of HTTP requests, by title."""
    split = {part.title: part.text.split("\n", 1) for part in parts_of(written, "console")}
    for line, _ in split.values():
        assert re.fullmatch(r"(PUT|POST) /\S+", line)
    return {title: json.loads(body) for title, (_, body) in split.items()}


def code_of(written):
    return "\n".join(part.text for part in written.parts)


@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("engine", RECIPE_ENGINES)
def test_every_engine_writes_valid_code_with_the_dims_and_the_keeps(engine, point, metric):
    written = recipe(point, FULL_DIM, engine, name="articles", metric=metric)
    bodies(written)  # parses the JSON
    python = "\n".join(part.text for part in parts_of(written, "python"))
    compile(python, "recipe", "exec")
    code = code_of(written)
    assert "articles" in code.lower()
    stages = OperatingPoint.parse(point).stages
    run = (stages[0], stages[-1]) if engine == "azure" else stages
    for stage in run:
        assert re.search(rf"\b{stage.dim}\b", code), stage
    if engine == "azure":  # a multiple of k
        assert stages[0].keep is None or f'"oversampling": {stages[0].keep / RESULTS}' in code
    else:
        assert all(re.search(rf"\b{s.keep or RESULTS}\b", code) for s in stages)
    assert re.search('news|where = None|where = ""|match_all', code), "no place for a filter"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("engine", RECIPE_ENGINES)
def test_a_quantizer_that_nestvec_does_not_measure_is_named(engine, precision):
    written = recipe(f"128:{precision}@200>768:float32", FULL_DIM, engine)
    notes = " ".join(written.notes)
    measured = precision in ("float32", "float16")
    measured |= precision == "sign" and engine in ("pgvector", "vespa")
    if not measured:
        assert f"Not measured: {engine} has no {precision} codes" in notes
        assert "nestvec evaluate" in notes
    elif engine not in ("azure", "vespa"):
        assert "Not measured" not in notes
    assert ("nestvec evaluate --engine" in notes) is (engine in engines() and "Not m" in notes)


def test_the_page_states_whether_the_code_was_tested():
    written = recipe(TWO, FULL_DIM, "pgvector")
    assert str(written).startswith(f"# {TWO} on pgvector\n\nTested: nestvec's tests run this code")
    assert "Untested (Vespa 8" in str(recipe(TWO, FULL_DIM, "vespa"))
    assert {e for e in RECIPE_ENGINES if recipe(TWO, FULL_DIM, e).tested} == {"pgvector", "lancedb"}


def test_the_documentation_lists_each_engine_and_what_was_run():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)", page.split("## Engines")[1], re.MULTILINE)[:9])
    assert {*rows} == {*RECIPE_ENGINES}
    for engine, row in rows.items():
        assert ("untested" in row) is not recipe(TWO, FULL_DIM, engine).tested


def test_the_documentation_names_the_quantizers():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|", page.split("this quantizer:")[1], re.MULTILINE)
    assert {engine for engine, _ in rows} == {*RECIPE_ENGINES}
    for engine, row in rows:
        for precision, cell in zip(PRECISIONS[2:], row.split("|"), strict=True):
            written = str(recipe(f"128:{precision}@200>768:float32", FULL_DIM, engine)).lower()
            words = re.findall(r"[a-z]\w+", cell.lower())
            assert all(word.rstrip("s") in written for word in words), (engine, precision, cell)


def test_a_recipe_is_plain_values():
    written = recipe(TWO, FULL_DIM, "vespa")
    values = json.loads(json.dumps(written.to_json()))
    assert values["point"] == TWO
    assert [part["title"] for part in values["parts"]] == [part.title for part in written.parts]
    for part in written.parts:
        assert f"## {part.title}\n\n```{part.language}\n{part.text}\n```" in str(written)


def test_pgvector_runs_the_statement_of_the_engine():
    point = OperatingPoint.parse("64:float16@1000>256:float16@100>768:float32")
    written = recipe(point, FULL_DIM, "pgvector")
    (query,) = [part.text for part in written.parts if part.title == "Query"]
    column = VectorColumn('"embedding"', "float32", FULL_DIM)
    statement = search_statement('"docs"', column, point.stages, 10, condition=None, indexed=True)
    sql = re.sub(r"--.*\n|/\*.*?\*/|;$", "", query)
    sql = re.sub(r"\$\d::\w+\(\d+\)", "%b", " ".join(sql.split()))
    assert sql == " ".join(statement.text.split())
    assert re.findall(r"\$\d", query.split("\n", 1)[1]) == ["$1", "$2", "$3"]
    assert "SET hnsw.ef_search = '1000'" in code_of(written)


def test_pgvector_quantizes_the_query_of_sign_bits():
    (query,) = [p.text for p in recipe("64:sign@90>768:float32", 768, "pgvector").parts[-1:]]
    assert "<~> binary_quantize($2::vector(64))" in query


def test_vespa_needs_whole_bytes_of_sign_bits():
    written = recipe("12:sign@90>768:float32", 768, "vespa")
    assert "tensor<int8>(x[12])" in code_of(written)
    assert any("a multiple of 8 dims, and stage 12:sign@90 has 12" in n for n in written.notes)


def test_pgvector_without_an_index_for_wide_first_stages():
    written = recipe("3072:float32", 3072, "pgvector")
    assert "USING hnsw" not in code_of(written)
    assert any("at most 2,000 dims of float32" in note for note in written.notes)
    assert "USING hnsw" in code_of(recipe("3072:float16", 3072, "pgvector"))


def test_pgvector_with_more_candidates_than_ef_search():
    written = recipe("64:float16@2000>768:float32", FULL_DIM, "pgvector")
    assert "SET hnsw.ef_search = '1000'" in code_of(written)
    assert any("at most 1,000. The iterative scan" in note for note in written.notes)


@pytest.mark.parametrize(
    ("engine", "point", "limit"),
    [
        ("elasticsearch", "5000:float32", "4,096 dims"),
        ("azure", "128:int8@50>5000:float32", "4,096 dims"),
        ("pgvector", "64:float16", "16,000 dims"),  # the table has the whole vector
        ("opensearch", "17000:float16", "16,000 dims"),
        ("milvus", "40000:int8", "32,768 dims"),
        ("milvus", "64:int8@17000>128:float32", "16,384 documents"),
        ("weaviate", "64:int8@17000>128:float32", "10,000 documents"),
        ("vespa", "8:int8@9>9:int8@8>10:int8@7>11:int8@6>12:int8", "4 phases"),
    ],
)
def test_what_an_engine_cannot_store_or_return_is_refused(engine, point, limit):
    with pytest.raises(InvalidArgument, match=f"{limit}.*Choose a point"):
        recipe(point, 50_000, engine)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((TWO, FULL_DIM, "redis"), {}, "engine 'redis'. Choose one of pgvector, milvus"),
        ((TWO, 512, "vespa"), {}, "768 dims, more than full_dim=512"),
        ((TWO, FULL_DIM, "vespa"), {"metric": "l2"}, "metric 'l2' is not one of ip, cosine"),
        ((TWO, FULL_DIM, "vespa"), {"name": 'a"; DROP'}, "is not valid in every engine"),
        (("128", FULL_DIM, "vespa"), {}, "is not an operating point"),
    ],
)
def test_wrong_arguments_are_refused(arguments, options, message):
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        recipe(*arguments, **options)


def test_elasticsearch_searches_at_least_the_candidates_and_rescores_them_all():
    query = bodies(recipe(THREE, FULL_DIM, "elasticsearch"))["Query"]
    assert query["knn"]["num_candidates"] >= query["knn"]["k"] == 1000
    assert query["knn"]["rescore_vector"] == {"oversample": 0}
    assert [each["window_size"] for each in query["rescore"]] == [1000, 100]
    assert query["size"] == RESULTS
    plain = bodies(recipe("768:float32", FULL_DIM, "elasticsearch"))["Query"]
    assert "rescore" not in plain
    assert "rescore_vector" not in plain["knn"]


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ("64:binary", "bbq_hnsw"),
        ("32:binary", "int8_hnsw"),  # bbq_hnsw needs 64 dims
        ("64:int4", "int4_hnsw"),
        ("63:int4", "int8_hnsw"),  # int4_hnsw needs an even number of dims
        ("64:float16", "hnsw"),
    ],
)
def test_elasticsearch_indexes_the_first_stage_with_an_allowed_type(point, kind):
    written = recipe(point, FULL_DIM, "elasticsearch")
    (field,) = [
        each
        for each in bodies(written)["Index"]["mappings"]["properties"].values()
        if each["type"] == "dense_vector"
    ]
    assert field["index_options"]["type"] == kind
    assert any("The recipe uses int8_hnsw" in n for n in written.notes) == (kind == "int8_hnsw")


def test_opensearch_has_one_graph_and_rescores_all_candidates():
    written = bodies(recipe(THREE, FULL_DIM, "opensearch"))
    fields = written["Index"]["mappings"]["properties"]
    methods = [each["method"]["name"] for each in fields.values() if "method" in each]
    assert methods == ["hnsw", "flat", "flat"]
    knn = written["Query"]["query"]["knn"]["embedding_64"]
    assert (knn["k"], knn["rescore"]) == (1000, False)
    assert knn["method_parameters"]["ef_search"] >= 1000
    assert [each["window_size"] for each in written["Query"]["rescore"]] == [1000, 100]
    int8 = bodies(recipe(TWO, FULL_DIM, "opensearch"))["Index"]["mappings"]["properties"]
    assert int8["embedding_128"]["compression_level"] == "4x"


def test_azure_truncates_and_rescores_with_the_originals():
    written = recipe(THREE, FULL_DIM, "azure", name="my_docs")
    index = bodies(written)["Index"]
    (compression,) = index["vectorSearch"]["compressions"]
    assert index["name"] == "my-docs"
    assert compression["truncationDimension"] == 64
    assert compression["rescoringOptions"]["defaultOversampling"] == 100
    assert index["fields"][-1]["dimensions"] == FULL_DIM
    assert any("No stage 256:int8@100" in note for note in written.notes)
    one = bodies(recipe(ONE, FULL_DIM, "azure"))["Index"]
    (compression,) = one["vectorSearch"]["compressions"]
    assert "truncationDimension" not in compression
    assert compression["rescoringOptions"] == {"enableRescoring": False}
    assert one["fields"][-1]["dimensions"] == 256


def test_vespa_ranks_one_stage_in_each_phase():
    text = code_of(recipe(THREE, FULL_DIM, "vespa"))
    assert re.findall(r"(first|second|global)-phase", text) == ["first", "second", "global"]
    assert re.findall(r"rerank-count: (\d+)", text) == ["1000", "100"]
    assert "tensor<int8>(x[8])" in text  # 64 bits
    four = code_of(recipe("32:int8@90>64:int8@80>128:int8@70>256:float32", FULL_DIM, "vespa"))
    assert re.findall(r"rerank-count: (\d+)", four) == ["80", "70"]
    assert re.search(r"first-phase \{\s+expression: sum\(query\(stage_2_64\)", four)
    assert '\\"targetHits\\": 90' in four


@pytest.mark.parametrize("point", [SAME_DIM])
@pytest.mark.parametrize("engine", ["milvus", "weaviate", "vespa"])
def test_a_later_stage_of_equal_dims_has_a_field_of_exact_vectors(engine, point):
    assert "embedding_exact" in code_of(recipe(point, FULL_DIM, engine))


def test_the_prefix_of_a_recipe_is_that_of_nestvec():
    namespace = {}
    (part,) = parts_of(recipe(TWO, FULL_DIM, "elasticsearch"), "python")
    exec(part.text, namespace)
    vectors = np.random.default_rng(0).standard_normal((5, 16)).astype(np.float32)
    vectors[2] = 0
    np.testing.assert_allclose(namespace["prefix"](vectors, 8), prefix(vectors, 8), atol=1e-6)
    assert namespace["prefix"](vectors[0], 8).shape == (8,)


def test_the_codes_of_vespa_are_computed_by_the_client():
    namespace = {}
    (part,) = parts_of(recipe("16:binary@9>32:float32", 32, "vespa"), "python")
    exec(part.text, namespace)
    bits = namespace["sign_bits"](np.array([[1.0, -1, -1, -1, -1, -1, -1, 1]]))
    assert bits.tolist() == [[-127]]  # 0b10000001
    (part,) = parts_of(recipe("16:int8@9>32:float32", 32, "vespa"), "python")
    exec(part.text, namespace)
    assert namespace["int8_codes"](np.array([[0.5, -1.0]])).tolist() == [[64, -127]]
