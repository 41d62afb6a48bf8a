"""Ranges of dims, models that must not be truncated, refused dtypes, and contradictions."""

import numpy as np
import pytest

from nestvec.errors import InvalidArgument
from nestvec.index.building import build_index
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.models.info import choose_dims, published_facts
from nestvec.models.known import find_known
from nestvec.models.known_row import KnownModel
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from ten_documents import CORPUS

REASON = "its widths are separate layers"


def heads(folder, width=8):
    return [KnownModel(names=(folder.name,), full_dim=width, not_prefixes=REASON)]


def test_a_range_gives_halvings_down_to_its_end():
    known = find_known("Qwen3-Embedding-0.6B")
    assert choose_dims(1024, known=known).dims == (1024, 512, 256, 128, 64, 32)
    assert choose_dims(1024, known=known).trained
    assert choose_dims(1024, requested=(300, 32), known=known).trained
    assert not choose_dims(1024, requested=(300, 31), known=known).trained
    assert published_facts(None, known)["min_dim"] == 32


def test_a_model_without_published_dims_is_matryoshka_with_guessed_dims():
    known = find_known("F2LLM-v2-80M")
    found = choose_dims(320, known=known)
    assert (found.dims, found.trained) == ((320, 160, 80, 40), False)
    assert "no dims are published" in found.source
    assert published_facts(None, known)["matryoshka"]


def test_truncation_is_refused_where_dims_are_chosen(static_folder, tmp_path):
    rows = heads(static_folder)
    (static_folder / "config.json").unlink(missing_ok=True)
    with pytest.raises(InvalidArgument, match=rf"dim=4 is refused for .*: {REASON}\. Use full_dim"):
        load_model(static_folder, models=rows, dims=[4])
    model = load_model(static_folder, models=rows)
    assert (model.info.dims, model.info.not_prefixes) == ((8,), REASON)
    assert not model.info.is_trained_for(4) and model.info.is_trained_for(8)
    with pytest.raises(InvalidArgument, match="dim=4 is refused"):
        build_index(model, CORPUS, "4:int8@5>8:float16", tmp_path / "index")
    with build_index(model, CORPUS, "8:int8", tmp_path / "index") as index:
        for search in (index.search, index.explain):
            with pytest.raises(InvalidArgument, match=rf"dim=4 is refused for .*: {REASON}"):
                search(["table"], point="4:int8@5>8:float16")
            search(["table"], point="8:float16")
        with pytest.raises(InvalidArgument, match="dim=4 is refused"):
            index.use("4:int8")


def test_a_grid_of_smaller_dims_is_refused(tmp_path):
    from nestvec.data.retrieval import RetrievalSet

    folder = tmp_path / "v"
    ids = list(CORPUS)
    values = np.random.default_rng(0).standard_normal((len(ids), 8)).astype(np.float32)
    save_vectors(ids, values, folder, kind="document")
    save_vectors(["q"], values[:1], folder, kind="query")
    data = RetrievalSet("s", "test", dict(CORPUS), {"q": "x"}, {"q": {ids[0]: 1}}, {})
    model = load_model(folder, models=heads(folder))
    with pytest.raises(InvalidArgument, match="dim=4 is refused"):
        evaluate(model, data, Grid(dims=(4,), precisions=("float32",), shortlisted=()))
    curve = evaluate(model, data, Grid(precisions=("float32",), shortlisted=()))
    assert {stage.dim for row in curve.points for stage in row.point.stages} == {8}


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_a_refused_dtype_is_named_with_its_source(bert_folder, name):
    from nestvec.models.info import refuse_dtype

    row = KnownModel(
        names=(bert_folder.name,),
        full_dim=load_model(bert_folder).info.full_dim,
        refused_dtypes=(name,),
        source="https://example.org/card",
    )
    with pytest.raises(InvalidArgument, match=r"refused for .* \(https://example.org/card\)"):
        refuse_dtype(str(bert_folder), name, [row])
    refuse_dtype(str(bert_folder), "float32", [row])
    if name == "bfloat16":
        with pytest.raises(InvalidArgument, match="dtype='bfloat16' is refused"):
            load_model(bert_folder, dtype="bfloat16", models=[row])
        assert load_model(bert_folder, dtype=None, models=[row]).info.dtype == "float32"


def test_a_row_that_contradicts_the_weights_is_one_warning(static_folder, caplog):
    rows = [KnownModel(names=(static_folder.name,), full_dim=16, min_dim=2, source="https://a.b")]
    info = load_model(static_folder, models=rows).info
    assert info.min_dim is None
    (record,) = caplog.records
    assert (
        "has full_dim=8, but the known model static-model has full_dim=16 (known model: http"
        in (record.getMessage())
    )


def test_a_model_that_a_prompt_harms_is_reported(static_folder, caplog):
    rows = [
        KnownModel(names=(static_folder.name,), full_dim=8, prompts_refused="a prompt destroys it")
    ]
    load_model(static_folder, models=rows)
    assert not caplog.records
    load_model(static_folder, models=rows, prompts={"query": "q: "})
    (record,) = caplog.records
    assert "is used with prompts (query 'q: ', document ''), but a prompt destroys it" in (
        record.getMessage()
    )


def test_a_known_api_model_is_not_searched_on_the_hub():
    from nestvec.errors import ModelError

    with pytest.raises(ModelError, match="voyage-4-large is available through an API only"):
        load_model("voyage-4-large")
