"""The folder of a fine-tuned model: any tool loads it, and it says how it was made."""

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
    usual_dims,
)
from nestvec.train.config import FinetuneConfig

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


def test_the_folder_is_a_plain_one_that_says_how_it_was_made(bert_folder, pairs, tmp_path):
    base, out = load_base(str(bert_folder)), tmp_path / "out"
    dev = load_dev_set(tmp_path / "dev.csv")
    outcome = finetune_and_save(base, pairs, CONFIG, out, evidence=HeldOutSets(dev, twin=True))
    assert sorted(outcome.training.best) == [8, 64]
    assert list(outcome.curves) == ["this model", "before training", "without Matryoshka"]
    config = json.loads((out / "config.json").read_text())
    assert config["matryoshka_dimensions"] == [64, 8]
    assert config["nestvec"]["train"]["learning_rate"] == 1e-3
    texts = ["read a csv", "a table"]
    plain = SentenceTransformer(str(out), device="cpu", truncate_dim=8)
    ours = load_model(out)
    np.testing.assert_allclose(
        ours.encode(texts, kind="document")[:, :8], plain.encode_document(texts), atol=1e-6
    )
    assert ours.info.dims == (64, 8)
    assert ours.info.dims_trained
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
    assert curve.model == ours.info  # so that a plan made from it fits the model


def test_the_curve_is_of_the_width_that_a_head_leaves(bert_folder, pairs, tmp_path):
    base, out = load_base(str(bert_folder)), tmp_path / "out"
    config = replace(CONFIG, dims=(16, 8), out_dim=16)
    test = load_dev_set(tmp_path / "dev.csv")
    outcome = finetune_and_save(base, pairs, config, out, evidence=HeldOutSets(test=test))
    plain = SentenceTransformer(str(out), device="cpu")
    ours = load_model(out)
    texts = ["read a csv", "a table"]
    np.testing.assert_allclose(ours.encode(texts, kind="document"), plain.encode(texts), atol=1e-6)
    assert outcome.curves["this model"].model.full_dim == ours.info.full_dim == 16
    assert outcome.curves["before training"].model.full_dim == 64


def test_a_model_that_scores_nothing_is_written_without_a_picture(bert_folder, pairs, tmp_path):
    (tmp_path / "upside-down.csv").write_text(scored([0, 0.6, 1]))
    evidence = HeldOutSets(test=load_dev_set(tmp_path / "upside-down.csv"))
    outcome = finetune_and_save(
        load_base(str(bert_folder)), pairs, CONFIG, tmp_path / "out", evidence=evidence
    )
    assert outcome.curves == {}
    assert not (tmp_path / "out" / "curve.svg").exists()
    assert load_model(tmp_path / "out").info.full_dim == 64


def test_a_twin_that_nothing_is_measured_of_is_refused():
    with pytest.raises(InvalidArgument, match="measured on test or dev: name one"):
        HeldOutSets(twin=True)


def test_what_is_in_the_way_is_known_before_training(bert_folder, pairs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not replaced"):
        finetune_and_save(load_base(str(bert_folder)), pairs, CONFIG, tmp_path / "out")
    assert not (tmp_path / ".out.checkpoints").exists()


def test_a_dim_above_the_model_s_is_refused_before_training(bert_folder, pairs, tmp_path):
    config = FinetuneConfig(dims=(128, 8))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidArgument, match="128 dims > 64, which is the model's width"):
        finetune_and_save(load_base(str(bert_folder)), pairs, config, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_a_dev_file_that_judges_nothing_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("text,label\na,x\nb,y\nc,x\nd,y\ne,x\n")
    with pytest.raises(DataError, match="judges nothing"):
        load_dev_set(tmp_path / "labels.csv")


def test_usual_dims_are_halvings_down_to_32():
    assert usual_dims(384) == (384, 192, 96, 48)
    assert usual_dims(24) == (24,)
