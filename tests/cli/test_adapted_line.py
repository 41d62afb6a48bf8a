"""From a model to a server behind an adapter, each step typed as the one before says."""

import json

import numpy as np
import pytest

from nestvec.codec.prefix import prefix
from nestvec.models.adapter_file import load_adapter
from nestvec.models.load import load_model
from nestvec.serve.app import create_app
from nestvec.serve.served import load_served
from serving_client import Client

N = 200


@pytest.fixture
def judged(place):
    """Documents of three of the model's words, and questions for two of these."""
    rows = [json.loads(line) for line in (place / "data/corpus.jsonl").read_text().splitlines()]
    words = sorted({word for row in rows for word in row["text"].split()[1::2]})
    rng = np.random.default_rng(0)
    texts = [rng.choice(words, 3, replace=False).tolist() for _ in range(N)]
    folder = place / "judged"
    (folder / "qrels").mkdir(parents=True)
    for name, letter, n_words in (("corpus", "d", 3), ("queries", "q", 2)):
        lines = (
            json.dumps({"_id": f"{letter}{row}", "text": " ".join(text[:n_words])})
            for row, text in enumerate(texts)
        )
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    for split, first in (("train", 0), ("test", 1)):
        lines = (f"q{row}\td{row}\t1\n" for row in range(first, N, 2))
        (folder / f"qrels/{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def test_an_adapted_model_goes_the_whole_way(nestvec, place, judged):
    def well(*typed):
        ended = nestvec(*typed)
        assert ended.code == 0, ended.err
        return " ".join(ended.out.split())

    well("adapt", "model", "--qrels", "judged", "--dims", "20,10", "--method", "svd",
         "--out", "a.st")  # fmt: skip
    measured = well("evaluate", "model", "judged", "--adapter", "a.st", "--keeps", "50",
                    "--precisions", "float32,int8", "--no-cache", "--out", "new.json")  # fmt: skip
    assert "32 20 10 dims" in measured
    assert "dims from adapter" in measured
    planned = well("plan", "new.json", "--min-retention", "0.5", "--out", "new-plan.json")
    build = "nestvec index build model CORPUS --adapter ADAPTER --plan new-plan.json --out index"
    assert build in planned
    typed = ["index", "build", "model", "judged", "--plan", "new-plan.json", "--out", "own"]
    refused = nestvec(*typed)
    assert refused.code == 2
    assert "the plan is for model with an adapter" in refused.err
    assert refused.err.count("\n") == 1
    well(*typed, "--adapter", "a.st")
    point = json.loads((place / "new-plan.json").read_text())["point"]
    stats = well("index", "stats", "own")
    assert "model with an adapter, 32 dims" in stats
    assert point in stats
    well("report", "new.json", "--plan", "new-plan.json", "--out", "new.html")
    assert "applied to the vectors of the model, checksum" in (place / "new.html").read_text()

    text = json.loads((judged / "queries.jsonl").read_text().splitlines()[7])["text"]
    found = nestvec("search", "own", text, "-k", "4", "--json").out.splitlines()
    served = load_served(
        [place / "own"], curve=place / "new.json", plan=place / "new-plan.json", name="own"
    )
    client = Client(create_app(served))
    answer = client.post("/v1/search", {"query": text, "k": 4}).json()
    assert answer["point"] == client.get("/v1/plan").json()["point"] == point
    assert [hit["id"] for hit in answer["hits"]] == [json.loads(hit)["_id"] for hit in found]
    adapter, model = load_adapter(place / "a.st"), load_model(place / "model")
    expected = prefix(adapter.apply(model.encode([text], kind="document"), "document"), 10)
    asked = {"model": "own", "input": text, "dimensions": 10}
    (line,) = client.post("/v1/embeddings", asked).json()["data"]
    np.testing.assert_allclose(line["embedding"], expected[0], atol=1e-6)
    served.close()
