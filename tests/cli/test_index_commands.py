"""``nestvec index``: what each command does to an index, says of it, and leaves when it ends."""

import json
import shlex
import shutil

import numpy as np
import pytest

from nestvec.index.index import Index
from nestvec.models import encoding as batches


def rows(place, name, documents):
    """Write documents as (id, text, metadata)."""
    lines = (json.dumps({"_id": id_, "text": text, **more}) for id_, text, more in documents)
    (place / name).write_text("".join(line + "\n" for line in lines))


def new_rows(n, start=0):
    return [(f"new{i}", f"unheard{i} of", {"year": 2000 + i}) for i in range(start, start + n)]


def flat(text):
    return " ".join(text.split())


def hits(nestvec, *arguments):
    ended = nestvec("search", "index", *arguments, "--json")
    assert (ended.code, ended.err) == (0, "")
    return [json.loads(line) for line in ended.out.splitlines()]


def count(place):
    with Index.open(place / "index") as index:
        return len(index)


def well(ended):
    assert (ended.code, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 80
    return flat(ended.out)


def refused(ended, message):
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert message in ended.err


def test_added_documents_are_found_and_adding_again_changes_nothing(nestvec, place):
    rows(place, "more.jsonl", new_rows(3))
    said = well(nestvec("index", "add", "index", "more.jsonl"))
    assert said.startswith("added 3 documents 63 documents at ")
    assert hits(nestvec, "unheard1", "-k", "1")[0]["_id"] == "new1"
    said = well(nestvec("index", "add", "index", "more.jsonl"))
    assert said.startswith("added 0 documents, 3 unchanged 63 documents at ")


def test_booleans_and_lists_of_a_file_are_filtered_and_a_misspelt_field_is_an_error(nestvec, place):
    fields = {"flag": True, "tags": ["a", "b"], "loc": {"page": 1}}
    rows(place, "more.jsonl", [("new0", "unheard of", fields), *new_rows(2, start=1)])
    ended = nestvec("index", "add", "index", "more.jsonl")
    assert ended.code == 0
    assert ended.err.count("\n") == 1  # named once, although the file is read several times
    assert "left out 1 metadata value of other types" in ended.err
    for where in ("flag = true", "tags has 'b'"):
        (found,) = hits(nestvec, "unheard", "--where", where)
        assert (found["_id"], found["metadata"]) == ("new0", {"flag": True, "tags": ["a", "b"]})
    ended = nestvec("search", "index", "unheard", "--where", "flga = true")
    refused(ended, "filter: no document has the field flga. The fields are: flag, tags, year.")
    ended = nestvec("search", "index", "unheard", "--where", "year = '2001'")
    refused(ended, "year contains numbers, and '2001' is a string. Compare year with a number")


def test_a_build_and_an_addition_print_one_object_with_all_warnings(nestvec, place):
    rows(place, "odd.jsonl", [(7, "an integer id", {}), ("b", "the same text", {})])
    rows(place, "more.jsonl", [("c", "the same text", {"nested": {"a": 1}})])
    options = ("--point", "8:int8", "--out", "odd", "--json")
    built = nestvec("index", "build", "model", "odd.jsonl", *options)
    added = nestvec("index", "add", "odd", "more.jsonl", "--json")
    for ended, documents in ((built, 2), (added, 3)):
        assert ended.code == 0, ended.err
        printed = json.loads(ended.out)
        assert printed["documents"] == documents
        assert printed["warnings"]
        assert ["nestvec: " + each for each in printed["warnings"]] == ended.err.splitlines()


def test_changed_documents_are_replaced_only_when_asked(nestvec, place):
    rows(place, "more.jsonl", [("d0", "changed text", {}), *new_rows(1)])
    ended = nestvec("index", "add", "index", "more.jsonl")
    refused(ended, "1 document in the index would be replaced, the first is 'd0'. Use")
    assert count(place) == 60
    said = well(nestvec("index", "add", "index", "more.jsonl", "--upsert"))
    assert said.startswith("added 1 document, replaced 1 61 documents at ")
    with Index.open(place / "index") as index:
        assert index.get(["d0"])["d0"].text == "changed text"


def test_a_folder_of_texts_is_indexed_and_kept_up_to_date(nestvec, place):
    (place / "notes").mkdir()
    (place / "notes/a.md").write_text("# Alpha\n\none two.\n\nthree four.\n\nfive six.")
    (place / "notes/b.txt").write_text("seven eight.")
    build = ("index", "build", "model", "notes", "--point", "8:int8", "--out", "texts")
    assert well(nestvec(*build, "--passage-words", "2")).startswith("5 documents at 8:int8")
    (place / "notes/a.md").write_text("# Alpha\n\none two.")
    add = ("index", "add", "texts", "notes", "--passage-words", "2", "--upsert")
    refused(nestvec(*add[:-1]), "2 documents in the index would be replaced, the first is 'a.md#3'")
    said = well(nestvec(*add))
    assert said.startswith(
        "added 0 documents, deleted 2 passages of changed files, 3 unchanged 3 documents"
    )
    found = nestvec("search", "texts", "one two", "-k", "1")
    assert "a.md:3" in found.out and "Alpha" in found.out


@pytest.mark.parametrize("command", ["index add index", "index build model --point 8:int8 --out x"])
def test_words_of_passages_are_for_texts(nestvec, command):
    ended = nestvec(*command.split(), "data", "--passage-words", "9")
    refused(ended, "--passage-words applies to a folder of text files, and data is none.")


def test_deleted_documents_are_gone_and_unknown_ids_are_counted(nestvec, place):
    (place / "ids.txt").write_text("d1\n\nnobody\nd0\n")
    said = well(nestvec("index", "delete", "index", "d0", "d2", "--ids", "ids.txt"))
    assert said.startswith("deleted 3 documents; 1 id not found 57 documents at ")
    assert said.endswith("Next nestvec index compact index")
    assert not {"d0", "d1", "d2"} & {hit["_id"] for hit in hits(nestvec, "about", "-k", "60")}
    again = well(nestvec("index", "delete", "index", "d0"))
    assert again.startswith("deleted 0 documents; 1 id not found 57 documents")
    assert "Next" not in again


def test_no_ids_are_refused(nestvec):
    refused(
        nestvec("index", "delete", "index"),
        "no ids are given. Name ids, or a file of ids with --ids.",
    )
    refused(nestvec("index", "delete", "index", "--ids", "no.txt"), "no.txt: does not exist")


def test_compaction_gives_back_what_was_deleted(nestvec, place):
    ids = [f"d{i}" for i in range(50)]
    well(nestvec("index", "delete", "index", *ids))
    assert "50, on disk until the index is compacted" in nestvec("index", "stats", "index").out
    said = well(nestvec("index", "compact", "index"))
    assert said.startswith("compacted from ")
    assert "10 documents at " in said
    stats = json.loads(nestvec("index", "stats", "index", "--json").out)
    assert (stats["documents"], stats["deleted"], stats["generation"]) == (10, 0, 1)


def test_verification_says_whole_or_names_the_file(nestvec, place):
    assert well(nestvec("index", "verify", "index")).startswith("intact: 60 documents, ")
    [segment] = (place / "index").rglob("*.vectors")
    data = bytearray(segment.read_bytes())
    data[-3] ^= 1
    segment.write_bytes(data)
    refused(nestvec("index", "verify", "index"), segment.name)


def test_stats_are_a_small_table_or_one_object(nestvec, place):
    shown = nestvec("index", "stats", "index")
    well(shown)
    lines = shown.out.splitlines()
    assert lines[0] == "documents  60"
    assert len({line.index(line[10:].strip()) for line in lines}) == 1
    stats = json.loads(nestvec("index", "stats", "index", "--json").out)
    assert stats["documents"] == 60
    assert stats["point"] == json.loads((place / "plan.json").read_text())["point"]


def test_another_point_is_used_from_then_on(nestvec):
    said = well(nestvec("index", "use", "index", "8:binary@30>32:float16"))
    assert said.startswith("60 documents at 8:binary@30>32:float16: ")
    assert "point      8:binary@30>32:float16" in nestvec("index", "stats", "index").out
    refused(nestvec("index", "use", "index", "64:int8"), "dim=64 is larger than full_dim=32")
    refused(nestvec("index", "use", "index", "sixty"), "is not an operating point")


def test_an_index_goes_over_to_another_model(nestvec, place):
    shutil.copytree(place / "model", place / "other")
    weights = bytearray((place / "other/model.safetensors").read_bytes())
    weights[-4:] = np.float32(0.125).tobytes()
    (place / "other/model.safetensors").write_bytes(weights)
    refused(nestvec("search", "index", "x", "--model", "other"), "contains vectors of")
    reembedded = well(nestvec("index", "reembed", "index", "other", "--point", "16:int8"))
    assert reembedded.startswith("60 documents at 16:int8: ")
    assert len(hits(nestvec, "about", "--model", "other")) == 10
    refused(nestvec("search", "index", "x", "--model", "model"), "contains vectors of")


def test_vectors_are_stored_as_asked(nestvec):
    build = ("index", "build", "model", "data", "--point", "8:int8", "--out")
    for stored in ("float16", "float32"):
        well(nestvec(*build, stored, "--stored", stored))
        assert json.loads(nestvec("index", "stats", stored, "--json").out)["stored"] == stored
    refused(nestvec(*build, "new", "--stored", "int8"), "--stored 'int8' is not one of float16,")


def test_vectors_that_exist_already_are_added(nestvec, place):
    rng = np.random.default_rng(1)
    (place / "vectors").mkdir()
    np.save(place / "vectors/corpus.npy", rng.normal(size=(5, 16)).astype(np.float32))
    (place / "vectors/corpus.ids.txt").write_text("".join(f"new{i}\n" for i in range(5)))
    rows(place, "three.jsonl", new_rows(3))
    rows(place, "two.jsonl", new_rows(2, start=3))
    build = "index build vectors three.jsonl --point 8:int8 --out v"
    assert well(nestvec(*build.split())).startswith("3 documents at 8:int8")
    assert "5 documents" in well(nestvec("index", "add", "v", "two.jsonl"))


def test_a_search_is_narrowed_and_can_be_exact(nestvec, place):
    rows(place, "more.jsonl", new_rows(9))
    well(nestvec("index", "add", "index", "more.jsonl"))
    found = hits(nestvec, "unheard3", "--where", "year >= 2004 and year < 2007")
    assert {hit["_id"] for hit in found} == {"new4", "new5", "new6"}
    exact = hits(nestvec, "unheard3 of", "--exact", "-k", "69")
    assert len(exact) == 69
    full = hits(nestvec, "unheard3 of", "--point", "32:float16", "-k", "69")
    assert [hit["_id"] for hit in full][:5] == [hit["_id"] for hit in exact][:5]
    assert well(nestvec("search", "index", "x", "--where", "year > 2100")).startswith("0 of 69")
    refused(nestvec("search", "index", "x", "--where", "year >"), "filter, column 7")
    refused(nestvec("search", "index", "x", "--point", "99:int8"), "99")


def test_json_is_searched_once_and_the_time_that_is_told_is_of_a_second_search(
    nestvec, monkeypatch
):
    calls = []
    search = Index.search
    monkeypatch.setattr(
        Index, "search", lambda *args, **named: calls.append(0) or search(*args, **named)
    )
    hits(nestvec, "about")
    assert len(calls) == 1
    assert "ms after loading" in well(nestvec("search", "index", "about"))
    assert len(calls) == 3


def test_an_interrupted_addition_says_what_is_in_the_index_and_goes_on(nestvec, place, monkeypatch):
    monkeypatch.setattr(batches, "_BATCH", 10)
    rows(place, "more.jsonl", new_rows(25))
    embed = batches.embed

    def interrupted(model, ids, *args, **named):
        if "new20" in ids:
            raise KeyboardInterrupt
        return embed(model, ids, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(batches, "embed", interrupted)
        ended = nestvec("index", "add", "index", "more.jsonl")
    assert (ended.code, ended.out) == (130, "")
    assert ended.err == (
        "nestvec: interrupted. 20 of 25 documents are stored. Run the same command again to "
        "continue.\n"
    )
    said = well(nestvec("index", "add", "index", "more.jsonl"))
    assert said.startswith("added 5 documents, 20 unchanged 85 documents")


def test_an_interrupted_build_says_what_is_kept_and_goes_on(nestvec, place, monkeypatch):
    monkeypatch.setattr(batches, "_BATCH", 20)
    embed, encoded = batches.embed, []

    def interrupted(model, ids, *args, **named):
        encoded.extend(ids)
        if len(encoded) == 40:
            raise KeyboardInterrupt
        return embed(model, ids, *args, **named)

    monkeypatch.setattr(batches, "embed", interrupted)
    build = ("index", "build", "model", "data", "--point", "8:int4", "--out", "new")
    ended = nestvec(*build)
    assert (ended.code, ended.out) == (130, "")
    assert "20 of 60 documents are stored. Run the same command again to continue." in ended.err
    assert not (place / "new").exists()
    assert well(nestvec(*build)).startswith("60 documents at 8:int4: ")
    assert len(encoded) == 80
    assert not list(place.glob(".new*"))


def test_two_that_change_an_index_at_once_are_kept_apart(nestvec, place, monkeypatch):
    monkeypatch.setattr("nestvec.engines.embedded.folder._WAIT_S", 0)
    with Index.open(place / "index") as first:
        first.delete(["d0"])
        refused(nestvec("index", "delete", "index", "d1"), "is being changed by process")
    assert count(place) == 59


@pytest.mark.parametrize(
    "command", ["add index data", "compact index", "verify index", "stats index"]
)
def test_what_is_no_index_is_one_line(nestvec, command):
    refused(nestvec("index", *command.replace("index", "nowhere").split()), "nowhere")


def test_the_next_commands_can_be_typed_as_printed(nestvec):
    out = nestvec("index", "delete", "index", "d0").out
    _, *typed = shlex.split(out.partition("Next")[2])
    well(nestvec(*typed))
