"""What users need is among the public names, and shows itself readably."""

import numpy as np

import nestvec as nv
from fakes import NestedHashEncoder
from ten_documents import CORPUS, WORDS


class OwnEncoder:
    """An encoder as a user writes one, with public names only."""

    info = nv.ModelInfo("own", "1" * 64, 8, (8, 4), "own", True)

    def encode(self, texts, *, kind, on_progress=None):
        rng = np.random.default_rng(len(kind))
        return rng.standard_normal((len(texts), 8), dtype=np.float32)

    def count_truncated(self, texts, *, kind):
        return 0


def test_an_encoder_can_be_written_with_public_names(tmp_path):
    assert isinstance(OwnEncoder(), nv.Encoder)
    with nv.build_index(OwnEncoder(), CORPUS, "8:int8", tmp_path / "index") as index:
        assert len(index.search("read", 2)[0]) == 2


def test_every_error_can_be_caught_by_a_public_name():
    from nestvec import errors

    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, nv.NestvecError)
    }
    assert raised <= {*nv.__all__}


def test_an_index_shows_its_place_size_model_and_point(tmp_path):
    place = tmp_path / "index"
    index = nv.build_index(NestedHashEncoder(), CORPUS, "16:binary@8>64:int8", place)
    shown = f"Index({str(place)!r}, 10 documents, model='fake/nested', point='16:binary@8>64:int8')"
    assert repr(index) == shown
    index.close()
    assert repr(index) == shown.replace("10 documents", "closed")


def test_hits_are_read_as_the_readme_reads_them(tmp_path):
    with nv.build_index(NestedHashEncoder(), CORPUS, "64:int8", tmp_path / "index") as index:
        for hit in index.search([WORDS[3]], k=2)[0]:
            assert isinstance(hit, nv.Hit)
            assert CORPUS[hit.id].text == hit.text
