"""Encoding time of an adapted encoder: that of its model if known, else measured."""

import numpy as np

from fakes import NestedHashEncoder
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter, Head
from nestvec.models.encoding import embed_timed

SAME = Head(np.eye(64, dtype=np.float32))
ADAPTER = Adapter("linear", (64, 16), "f" * 64, "fake/nested", False, SAME, SAME, 0)
TEXTS = ["one", "two"]


class StoresTime(NestedHashEncoder):
    def encode_ms(self, texts, *, kind):
        return 7.0


def test_the_stored_time_of_the_model_is_used():
    model = AdaptedEncoder(StoresTime(), ADAPTER)
    embeddings, milliseconds = embed_timed(model, ["a", "b"], TEXTS, kind="query")
    assert milliseconds == 7.0
    assert embeddings.shape == (2, 64)


def test_otherwise_the_time_is_measured():
    model = AdaptedEncoder(NestedHashEncoder(), ADAPTER)
    assert model.encode_ms(TEXTS, kind="query") is None
    assert embed_timed(model, ["a", "b"], TEXTS, kind="query")[1] > 0
