"""The folder of a fine-tuned model: any tool loads it, and it says how it was made."""

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from nestvec.errors import DataError, InvalidArgument
from nestvec.models.load import load_model
from nestvec.train.finetune import FinetuneConfig
from nestvec.workflows.finetuned import finetune_and_save, load_base, load_dev_set, usual_dims

PAIRS = "anchor,positive\nread a csv,a csv file\nfind a file,a table\na table,read\n"
SCORED = "sentence1,sentence2,score\nread,find,0.1\na csv,a table,0.7\nfile,a file,1\n"
CONFIG = FinetuneConfig(dims=(8, 64), batch_size=2, learning_rate=1e-3, max_tokens=8)


@pytest.fixture
def pairs(tmp_path):
    (tmp_path / "pairs.csv").write_text(PAIRS)
    (tmp_path / "dev.csv").write_text(SCORED)
    return [tmp_path / "pairs.csv"]


def test_the_folder_is_a_plain_one_that_says_how_it_was_made(bert_folder, pairs, tmp_path):
    base, out = load_base(str(bert_folder)), tmp_path / "out"
    dev = load_dev_set(tmp_path / "dev.csv")
    done = finetune_and_save(base, pairs, CONFIG, out, dev=dev)
    assert sorted(done.best) == [8, 64]
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
    assert "read a csv" not in (out / "README.md").read_text()


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
