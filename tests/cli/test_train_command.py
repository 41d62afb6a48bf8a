"""``train MODEL``: what a person sees while a model learns, and at the end."""

import json

PAIRS = "anchor,positive\nread a csv,a csv file\nfind a file,a table\na table,read\nfile,find\n"
DEV = (
    "sentence1,sentence2,score\nread a csv,read a csv,1\nread a csv,a csv file,0.6\nread,table,0\n"
)


def test_losses_and_scores_are_told_on_the_way_and_the_curve_at_the_end(
    nestvec, place, bert_folder
):
    (place / "pairs.csv").write_text(PAIRS)
    (place / "dev.csv").write_text(DEV)
    typed = "--pairs pairs.csv --dims 16,8 --out-dim 16 --batch-size 2 --epochs 2 --out new"
    ended = nestvec("train", str(bert_folder), *typed.split(), "--dev", "dev.csv", "--twin")
    assert ended.code == 0, ended.err
    told = ended.err.splitlines()
    assert [line.split()[:2] for line in told if line.startswith("step")][-1] == ["step", "4,"]
    assert [line.split()[0] for line in told[:2]] == ["step", "dev"]
    assert " at 16, " in told[0]
    assert told[0].endswith(" at 8")
    lines = ended.out.splitlines()
    assert "pairs: NestedMultipleNegativesRankingLoss" in lines
    rows = [line.split("  ")[0] for line in lines]
    for row in ("this model float32", "before training float32", "without Matryoshka float32"):
        assert row in rows
    assert json.loads((place / "new" / "config.json").read_text())["matryoshka_dimensions"] == [
        16,
        8,
    ]


def test_a_twin_needs_something_to_be_measured_on(nestvec, place, bert_folder):
    (place / "pairs.csv").write_text(PAIRS)
    ended = nestvec("train", str(bert_folder), "--pairs", "pairs.csv", "--out", "new", "--twin")
    assert (ended.code, ended.err) == (
        2,
        "nestvec: twin needs a set to measure the baseline without Matryoshka on. "
        "Pass test or dev.\n",
    )


def test_an_unknown_tracker_is_one_line(nestvec, place, bert_folder):
    (place / "pairs.csv").write_text(PAIRS)
    typed = "--pairs pairs.csv --out new --report-to nothing"
    ended = nestvec("train", str(bert_folder), *typed.split())
    assert ended.code == 2
    assert "nestvec: report_to='nothing' is not an installed tracker" in ended.err
    assert not (place / "new").exists()


def test_the_prompts_of_training_are_printed_and_saved(nestvec, place, bert_folder):
    (place / "pairs.csv").write_text(PAIRS)
    typed = ["train", str(bert_folder), "--pairs", "pairs.csv", "--dims", "16"]
    ended = nestvec(*typed, "--out", "new", "--document-prompt", "a file ")
    assert ended.code == 0, ended.err
    assert "prompts: query 'find ', document 'a file '" in ended.out.splitlines()
    saved = json.loads((place / "new" / "config_sentence_transformers.json").read_text())
    assert saved["prompts"] == {"query": "find ", "document": "a file "}
    other = nestvec(*typed, "--out", "other", "--query-prompt", "", "--document-prompt", "")
    assert not [line for line in other.out.splitlines() if line.startswith("prompts")]
    weights = [(place / name / "model.safetensors").read_bytes() for name in ("new", "other")]
    assert weights[0] != weights[1]


def test_an_epoch_and_all_that_is_not_used_is_named(nestvec, place, bert_folder):
    rows = [
        {"query": f"read {word}", "pos": ["table", "file"], "neg": ["find"], "id": 1}
        for word in ("a", "csv", "a csv file table find read a csv file table find read a csv")
    ]
    (place / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    typed = "--pairs pairs.jsonl --dims 16 --batch-size 4 --out new --max-tokens 8"
    ended = nestvec("train", str(bert_folder), *typed.split())
    assert ended.code == 0, ended.err
    assert "  an epoch: 6 pairs in 2 batches; 12 texts repeated, masked within a batch" in ended.out
    told = ended.err.splitlines()
    for expected in (
        "pairs.jsonl: reads the columns query as anchor, pos as positive, neg as negative",
        "pairs.jsonl: not used: the columns id (3 values)",
        "pairs: truncated in training: 1 of 6 texts with more than 8 tokens",
    ):
        assert f"nestvec: {expected}" in told


def test_options_without_effect_are_refused(nestvec, place, bert_folder):
    (place / "pairs.csv").write_text(PAIRS)
    ended = nestvec(
        *("train", str(bert_folder), "--pairs", "pairs.csv", "--dims", "16", "--out", "new"),
        *("--best-at", "16"),
    )
    assert ended.code == 2
    assert "best_at=16 has no effect without a development set" in ended.err
