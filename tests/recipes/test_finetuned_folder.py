"""The folder of a fine-tuned model: other tools load it, and it records the settings."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from nestvec.curve.curve import Curve
from nestvec.errors import DataError, InvalidArgument
from nestvec.models.load import load_model
from nestvec.recipes.finetuned import (
    HeldOutSets,
    finetune_and_save,
    load_base,
    load_dev_set,
)
from nestvec.train.config import FinetuneConfig
from task_model import TASKS, rows, write_task_model

PAIRS = "anchor,positive\nread a csv,a csv file\nfind a file,a table\na table,read\n"
ALIKE = [("read a csv", "read a csv"), ("read a csv", "read a file"), ("read a csv", "find table")]


def scored(scores):
    lines = [f"{one},{two},{score}\n" for (one, two), score in zip(ALIKE, scores, strict=True)]
    return "sentence1,sentence2,score\n" + "".join(lines)


CONFIG = FinetuneConfig(dims=(8, 64), batch_size=2, learning_rate=1e-3, max_tokens=8)


@pytest.fixture
def pairs(tmp_path):
    (tmp_path / "pairs.csv").write_text(PAIRS)
    (tmp_path / "dev.csv").write_text(scored([1, 0.6, 0]))
    return [tmp_path / "pairs.csv"]


def test_other_tools_load_the_folder_and_it_records_the_settings(bert_folder, pairs, tmp_path):
    base, out = load_base(str(bert_folder)), tmp_path / "out"
    dev = load_dev_set(tmp_path / "dev.csv")
    outcome = finetune_and_save(base, pairs, CONFIG, out, held_out=HeldOutSets(dev, twin=True))
    assert sorted(outcome.training.dev_scores) == [8, 64]
    assert list(outcome.curves) == ["this model", "before training", "without Matryoshka"]
    config = json.loads((out / "config.json").read_text())
    assert config["matryoshka_dimensions"] == [64, 8]
    assert config["nestvec"]["train"]["learning_rate"] == 1e-3
    texts = ["read a csv", "a table"]
    plain = SentenceTransformer(str(out), device="cpu", truncate_dim=8)
    actual = load_model(out)
    np.testing.assert_allclose(
        actual.encode(texts, kind="document")[:, :8], plain.encode_document(texts), atol=1e-6
    )
    assert actual.info.dims == (64, 8)
    assert actual.info.dims_trained
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    readme = (out / "README.md").read_text()
    assert "read a csv" not in readme
    table = readme.partition("## Quality at each width")[2]
    for row in ("this model float32", "this model binary", "before training float32"):
        assert f"| {row} | " in table
    assert "| without Matryoshka float32 | " in table
    assert "](curve.svg)" in table
    assert "Evidence: scored pairs. 3 scored pairs with human labels." in table
    assert "</svg>" in (out / "curve.svg").read_text()
    curve = Curve.load(out / "curve.json")
    assert curve.model == actual.info  # so that a plan made from it fits the model


def test_the_curve_has_the_width_of_a_new_layer(bert_folder, pairs, tmp_path):
    base, out = load_base(str(bert_folder)), tmp_path / "out"
    config = replace(CONFIG, dims=(16, 8), out_dim=16)
    test = load_dev_set(tmp_path / "dev.csv")
    outcome = finetune_and_save(base, pairs, config, out, held_out=HeldOutSets(test=test))
    plain = SentenceTransformer(str(out), device="cpu")
    actual = load_model(out)
    texts = ["read a csv", "a table"]
    np.testing.assert_allclose(
        actual.encode(texts, kind="document"), plain.encode(texts), atol=1e-6
    )
    assert outcome.curves["this model"].model.full_dim == actual.info.full_dim == 16
    assert outcome.curves["before training"].model.full_dim == 64


def test_a_model_that_scores_0_is_written_without_a_chart(bert_folder, pairs, tmp_path):
    (tmp_path / "upside-down.csv").write_text(scored([0, 0.6, 1]))
    held_out = HeldOutSets(test=load_dev_set(tmp_path / "upside-down.csv"))
    outcome = finetune_and_save(
        load_base(str(bert_folder)), pairs, CONFIG, tmp_path / "out", held_out=held_out
    )
    assert outcome.curves == {}
    assert not (tmp_path / "out" / "curve.svg").exists()
    assert load_model(tmp_path / "out").info.full_dim == 64


def test_a_baseline_that_cannot_be_measured_is_rejected():
    with pytest.raises(InvalidArgument, match="Pass test or dev"):
        HeldOutSets(twin=True)


def test_other_files_in_the_folder_are_reported_before_training(bert_folder, pairs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not replaced"):
        finetune_and_save(load_base(str(bert_folder)), pairs, CONFIG, tmp_path / "out")
    assert not (tmp_path / ".out.checkpoints").exists()


def test_a_dim_larger_than_the_model_is_rejected_before_training(bert_folder, pairs, tmp_path):
    config = FinetuneConfig(dims=(128, 8))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidArgument, match="dim 128 is larger than the model's width 64"):
        finetune_and_save(load_base(str(bert_folder)), pairs, config, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_a_dev_file_without_scores_is_rejected(tmp_path):
    (tmp_path / "labels.csv").write_text("text,label\na,x\nb,y\nc,x\nd,y\ne,x\n")
    with pytest.raises(DataError, match="is not a dev or test set"):
        load_dev_set(tmp_path / "labels.csv")


def test_prompts_that_only_nestvec_knows_are_used_and_saved(bert_folder, pairs, tmp_path):
    """The library does not use a prompt named "passage"."""
    model = SentenceTransformer(str(bert_folder), device="cpu")
    model.prompts = {"query": "read ", "passage": "a file "}
    model.save(str(tmp_path / "base"))
    file = tmp_path / "base" / "config_sentence_transformers.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prompts": model.prompts}))
    base = load_base(str(tmp_path / "base"))
    finetune_and_save(base, pairs, CONFIG, tmp_path / "out")
    info, saved = load_model(tmp_path / "out").info, SentenceTransformer(str(tmp_path / "out"))
    assert (info.query_prompt, info.document_prompt) == ("read ", "a file ")
    assert saved.prompts == {"query": "read ", "document": "a file "}


def test_tasks_that_only_the_table_knows_are_saved(bert_folder, pairs, tmp_path, caplog):
    folder = write_task_model(bert_folder, tmp_path / "base")
    known = rows(folder, 64, **TASKS)
    base = load_base(str(folder), models=known, trust_remote_code=True)
    finetune_and_save(base, pairs, CONFIG, tmp_path / "out")
    caplog.clear()
    trained = load_model(tmp_path / "out", trust_remote_code=True)
    assert not caplog.records
    assert (trained.info.query_task, trained.info.document_task) == tuple(TASKS.values())
    file = tmp_path / "out" / "config.json"
    values = json.loads(file.read_text())
    del values["nestvec"]["tasks"]
    file.write_text(json.dumps(values))
    without = load_model(tmp_path / "out", trust_remote_code=True)
    assert without.info.fingerprint != trained.info.fingerprint
    again = load_model(
        tmp_path / "out", trust_remote_code=True, models=rows(tmp_path / "out", 64, **TASKS)
    )
    assert again.info.fingerprint == trained.info.fingerprint
