"""``nestvec plan --certificate`` and ``nestvec verify``: output, exit codes and refusals."""

import json

import pytest

from ended_commands import write_jsonl


@pytest.fixture
def certified(nestvec, place):
    """The folder with a certificate, written by the command."""
    ended = nestvec("plan", "curve.json", "--min-retention", "0.7", "--certificate", "cert.json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == "      nestvec verify cert.json"
    return place


def test_a_certificate_is_valid_with_and_without_its_inputs(nestvec, certified):
    alone = nestvec("verify", "cert.json")
    assert (alone.code, alone.err) == (0, "")
    assert alone.out.startswith("VALID: ")
    assert "not checked: curve, data, model (pass --curve, --data, --model)" in alone.out
    assert max(map(len, alone.out.splitlines())) <= 80
    inputs = ("--curve", "curve.json", "--data", "data", "--model", "model")
    ended = nestvec("verify", "cert.json", *inputs, "--json")
    assert (ended.code, ended.err) == (0, "")
    values = json.loads(ended.out)
    assert (values["valid"], values["differences"], values["not_checked"]) == (True, [], [])
    assert (
        values["statement"]["point"] == json.loads((certified / "plan.json").read_text())["point"]
    )


def test_an_edited_certificate_ends_with_1_and_names_the_number(nestvec, certified):
    path = certified / "cert.json"
    values = json.loads(path.read_text())
    values["statement"]["retention"] = 0.123
    path.write_text(json.dumps(values))
    ended = nestvec("verify", "cert.json")
    assert (ended.code, ended.err) == (1, "")
    shown = " ".join(ended.out.split())
    assert "DIFFERENT" in shown
    assert "- retention: the certificate states 12.3 %, the scores give " in shown
    assert nestvec("verify", "cert.json", "--json").code == 1


def test_changed_data_end_with_1(nestvec, certified):
    with (certified / "data" / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "new", "text": "one more"}\n')
    ended = nestvec("verify", "cert.json", "--data", "data")
    assert (ended.code, ended.err) == (1, "")
    assert "- corpus changed: sha256 " in ended.out
    assert "documents: the certificate states 60, the data set has 61" in " ".join(
        ended.out.split()
    )


def test_another_prompt_of_the_model_is_named(nestvec, certified):
    ended = nestvec("verify", "cert.json", "--model", "model", "--query-prompt", "q: ")
    assert ended.code == 1
    shown = " ".join(ended.out.split())
    assert "the files are the same. query prompt '' in the certificate, 'q: ' now" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere.json", "nowhere.json: cannot be read"),
        ("curve.json", "curve.json: is not a certificate of version 1."),
        ("cert.json --queries data/queries.jsonl", "Add --data DATASET."),
        ("cert.json --adapter a.npz", "Add --model MODEL."),
        ("cert.json --curve nowhere.json", "nowhere.json: cannot be read"),
    ],
)
def test_what_cannot_be_read_ends_with_2_and_one_line(nestvec, certified, arguments, message):
    ended = nestvec("verify", *arguments.split())
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_a_certificate_of_triplets_has_no_data_to_compare(nestvec, place):
    with (place / "data" / "corpus.jsonl").open() as file:
        texts = [json.loads(line)["text"] for line in file]
    rows = [
        {"anchor": each, "positive": each, "negative": texts[n - 1]} for n, each in enumerate(texts)
    ]
    write_jsonl(place / "triplets.jsonl", rows)
    assert nestvec("evaluate", "model", "triplets.jsonl", "--out", "t.json").code == 0
    assert nestvec("plan", "t.json", "--certificate", "c.json", "--out", "p.json").code == 0
    assert nestvec("verify", "c.json", "--curve", "t.json", "--model", "model").code == 0
    ended = nestvec("verify", "c.json", "--data", "data")
    assert (ended.code, ended.out) == (2, "")
    assert "has no hashes of the data" in ended.err


def test_a_curve_without_scores_of_queries_cannot_be_certified(nestvec, place):
    with (place / "data" / "corpus.jsonl").open() as file:
        texts = [json.loads(line)["text"] for line in file][:9]
    rows = [{"sentence1": texts[0], "sentence2": each, "score": -n} for n, each in enumerate(texts)]
    write_jsonl(place / "pairs.jsonl", rows)
    assert nestvec("evaluate", "model", "pairs.jsonl", "--out", "pairs.json").code == 0
    ended = nestvec("plan", "pairs.json", "--certificate", "c.json", "--out", "p.json")
    assert (ended.code, ended.out) == (2, "")
    assert "has no per-query scores" in ended.err
    assert ended.err.count("\n") == 1
    assert not (place / "c.json").exists()
