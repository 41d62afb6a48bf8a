"""Files written before names took the field's spelling can still be opened."""

import json
import re
import struct

from test_adapting_an_index import make

from nestvec.engines.manifest import _checksum
from nestvec.index.adapting import adapt_index
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.models.adapter_file import load_adapter, save_adapter
from nestvec.planning.budget import Budget
from ten_documents import CORPUS, WORDS, first


def spell_as_before(path):
    """Write the format name of the earlier spelling into the header of an adapter's file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = content[8 : 8 + length].replace(b"nestvec-adapter", b"nestvec-adaptor")
    path.write_bytes(content[:8] + header + content[8 + length :])


def test_an_adapter_of_the_earlier_spelling_is_read(tmp_path):
    save_adapter(make(), tmp_path / "adaptor.safetensors")
    spell_as_before(tmp_path / "adaptor.safetensors")
    assert b"nestvec-adaptor" in (tmp_path / "adaptor.safetensors").read_bytes()
    assert load_adapter(tmp_path / "adaptor.safetensors").digest() == make().digest()


def test_an_index_with_the_earlier_names_is_searched(tmp_path, model):
    build_index(model, CORPUS, "64:int8", tmp_path / "index").close()
    adapt_index(tmp_path / "index", make()).close()
    with Index.open(tmp_path / "index", model) as index:
        expected = index.search(WORDS, 3)
    manifest = tmp_path / "index" / "manifest.json"
    text, count = re.subn('"adapter":', '"adaptor":', manifest.read_text("utf-8"))
    text, more = re.subn('"quantizer":', '"quantiser":', text)
    assert (count, more) == (1, 1)
    values = json.loads(text)
    del values["sha256"]
    manifest.write_text(json.dumps(values | {"sha256": _checksum(values)}), "utf-8")
    earlier = tmp_path / "index" / "adaptor.safetensors"
    (tmp_path / "index" / "adapter.safetensors").rename(earlier)
    spell_as_before(earlier)
    with Index.open(tmp_path / "index", model) as index:
        assert index.search(WORDS, 3) == expected
        assert first(index, WORDS[4]) == "d4"
        index.add(["new"], ["text"])  # the manifest is written with today's names
        index.verify()
    with Index.open(tmp_path / "index", model) as index:
        assert index.info.adapter == make().digest()


def test_a_budget_with_the_earlier_names_is_read():
    written = json.loads('{"min_retention": 0.9, "minimise": "disk"}')
    assert Budget.from_json(written) == Budget(min_retention=0.9, minimize="disk")
