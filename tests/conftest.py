"""What tests of several folders share: the real data sets and one run of the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("engine_setup", "engine_changes", "engine_searches")

# In the background of a shell interrupts are ignored, and would be by the commands started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent
BERT_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BERT_WORDS += ["read", "a", "csv", "file", "table", "find"]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets: NESTVEC_DATA, or `shared/data` beside the checkout."""
    named = os.environ.get("NESTVEC_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    if named:  # a typing mistake must not turn tests off
        pytest.fail(f"NESTVEC_DATA names {folder}, which is not a folder")
    pytest.skip(f"no real data: {folder} is missing and NESTVEC_DATA is not set")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Store embeddings in a folder of this run, not in the developer's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NESTVEC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the quick demo, run once as a person runs it. Tests must not write to it."""
    folder = tmp_path_factory.mktemp("demo") / "nestvec-demo"
    command = [sys.executable, "-m", "nestvec.cli.main"]
    command += ["demo", "--quick", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0 or not folder.is_dir():
        pytest.fail(
            f"`nestvec demo --quick` ended with {done.returncode} and "
            f"{'wrote' if folder.is_dir() else 'did not write'} its folder\n"
            f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    (folder.parent / "said.txt").write_text(done.stdout, "utf-8")
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory):
    """A two-layer random transformer with a prompt for queries. Tests must not write to it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    base = tmp_path_factory.mktemp("base")
    (base / "vocab.txt").write_text("\n".join(BERT_WORDS))
    BertTokenizerFast(vocab=str(base / "vocab.txt"), model_max_length=16).save_pretrained(base)
    BertModel(
        BertConfig(
            vocab_size=len(BERT_WORDS),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=32,
        )
    ).save_pretrained(base)
    transformer = Transformer(str(base), max_seq_length=16)
    model = SentenceTransformer(
        modules=[transformer, Pooling(64)], prompts={"query": "find ", "document": ""}, device="cpu"
    )
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    model.save(str(folder))
    return folder
