"""Options of ``train --static``: what is typed reaches the model, above a file of settings."""

import json


def settings(place, name):
    return json.loads((place / name / "config.json").read_text())["nestvec"]


def test_options_stand_above_the_file_and_both_above_what_is_usual(nestvec, place):
    (place / "run.toml").write_text("dims = [24, 8]\nepochs = 1\nbatch_size = 16\nscale = 10.0\n")
    typed = "train --static --pairs data --out new --config run.toml"
    ended = nestvec(
        *typed.split(), "--batch-size", "8", "--max-tokens", "60", "--dtype", "bfloat16"
    )
    assert (ended.code, ended.err) == (0, "")
    assert "60 pairs, 1 epoch of 8 batches" in ended.out
    found = settings(place, "new")
    assert "start" not in found
    found = found["train"]
    names = ("dims", "epochs", "batch_size", "scale", "max_tokens", "bfloat16", "learning_rate")
    assert [found[name] for name in names] == [[24, 8], 1, 8, 10.0, 60, True, 0.4]


def test_a_model_is_what_training_starts_from(nestvec, place):
    typed = "train model --static --pairs data --epochs 1 --out new"
    ended = nestvec(*typed.split())
    assert ended.code == 0
    assert ended.err.strip() == (
        "nestvec: batch_size=512 is larger than the 60 pairs, which form one batch"
    )
    found = settings(place, "new")
    assert found["start"]["origin"] == "table"
    assert found["start"]["model"] == "model"
    assert (found["train"]["dims"], found["train"]["learning_rate"]) == ([32], 0.1)
    tokenizers = [(place / name / "tokenizer.json").read_text() for name in ("model", "new")]
    assert tokenizers[0] == tokenizers[1]


def test_a_transformer_is_distilled(nestvec, place, bert_folder):
    (place / "pairs.jsonl").write_text(
        "".join(
            json.dumps({"anchor": anchor, "positive": positive}) + "\n"
            for anchor, positive in (("read a csv", "file"), ("find a table", "table csv"))
        )
    )
    typed = "--static --pairs pairs.jsonl --dims 16,8 --epochs 1 --learning-rate 0.01 --out new"
    ended = nestvec("train", str(bert_folder), *typed.split())
    assert ended.code == 0
    found = settings(place, "new")
    assert found["start"]["origin"] == "teacher"
    assert (found["train"]["dims"], found["train"]["learning_rate"]) == ([16, 8], 0.01)


def test_prompts_are_refused_and_those_of_the_model_named(nestvec, place, bert_folder):
    typed = "train --static --pairs data --out new --query-prompt q:"
    ended = nestvec(*typed.split())
    assert (ended.code, ended.err) == (
        2,
        "nestvec: --query-prompt is for fine-tuning, not --static. Omit the option.\n",
    )
    (place / "pairs.csv").write_text("anchor,positive\nread a csv,file\nfind a table,table csv\n")
    (place / "run.toml").write_text("vocab_size = 100\n")
    typed = "--static --pairs pairs.csv --dims 16 --epochs 1 --out new --config run.toml"
    ended = nestvec("train", str(bert_folder), *typed.split())
    assert ended.code == 0
    told = ended.err.splitlines()
    assert (
        f"nestvec: {bert_folder}: its prompts are not used; the new model encodes texts without "
        "prompts: query 'find '"
    ) in told
    assert any("vocab_size=100 has no effect" in line for line in told)
    saved = json.loads((place / "new" / "config_sentence_transformers.json").read_text())
    assert saved["prompts"] == {"query": "", "document": ""}


def test_negatives_of_a_file_change_a_static_model(nestvec, place):
    rows = [{"anchor": f"ask {n}", "positive": f"answer {n}"} for n in range(8)]
    for name, negatives in (("none", None), ("some", ["ask 3", "wrong answer"])):
        with (place / f"{name}.jsonl").open("w") as file:
            file.writelines(json.dumps({**row, "negatives": negatives}) + "\n" for row in rows)
        typed = f"train model --static --pairs {name}.jsonl --epochs 2 --out {name}"
        assert nestvec(*typed.split()).code == 0
    weights = [(place / name / "model.safetensors").read_bytes() for name in ("none", "some")]
    assert weights[0] != weights[1]
