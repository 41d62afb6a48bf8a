"""A model with a part for queries and a part for documents is trained with both."""

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument
from nestvec.models.load import as_encoder
from nestvec.train.config import FinetuneConfig
from nestvec.train.finetuning import finetune
from nestvec.train.texts import warn_of_truncated

PAIRS = TrainingPairs(["a b", "c", "d e"], ["b", "e", "a"], [["c"], ["b"], ["b"]])
CONFIG = FinetuneConfig(dims=(8, 4), batch_size=3, learning_rate=0.1, checks=1)


def table(seed):
    words = {word: number for number, word in enumerate(["?", "a", "b", "c", "d", "e"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    vectors = np.random.default_rng(seed).standard_normal((6, 8)).astype(np.float32)
    return StaticEmbedding(tokenizer, embedding_weights=vectors)


@pytest.mark.parametrize("prompts", [{}, {"query": "a ", "document": "d "}])
def test_each_part_is_trained_on_its_texts(prompts, tmp_path):
    router = Router.for_query_document([table(0)], [table(1)])
    model = SentenceTransformer(modules=[router], prompts=prompts, device="cpu")
    before = {name: each.clone() for name, each in model.state_dict().items()}
    finetune(model, {"pairs": PAIRS}, CONFIG, checkpoints=tmp_path / "kept")
    after = model.state_dict()
    changed = {name: (after[name] != each).any(1).tolist() for name, each in before.items()}
    prompt = bool(prompts)
    assert changed == {
        "0.sub_modules.query.0.embedding.weight": [False, True, True, True, True, True],
        "0.sub_modules.document.0.embedding.weight": [False, True, True, True, prompt, True],
    }


def test_a_static_model_of_the_library_has_no_limit_of_tokens(tmp_path, caplog):
    """The trainer's own setting of a limit raised an AttributeError."""
    model = SentenceTransformer(modules=[table(0)], device="cpu")
    done = finetune(model, {"pairs": PAIRS}, CONFIG, checkpoints=tmp_path / "kept")
    assert done.steps == 1
    warn_of_truncated(as_encoder(model), {"pairs": PAIRS}, 1)  # does nothing
    config = FinetuneConfig(**{**vars(CONFIG), "max_tokens": 4})
    assert "truncated" not in caplog.text
    with pytest.raises(InvalidArgument, match="max_tokens=4 cannot be set"):
        finetune(model, {"pairs": PAIRS}, config, checkpoints=tmp_path / "other")
