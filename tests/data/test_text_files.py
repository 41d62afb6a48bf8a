"""A folder of text files is a corpus of its passages; what is no text is named and left out."""

import logging
import os

import pytest

from nestvec.data.corpus import load_corpus
from nestvec.data.retrieval import load_query_log
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document
from refusals import refusal


def write(folder, **contents):
    """Write files; a double underscore in a name is a slash."""
    for name, content in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def where(file, passage=1, line=1):
    return {"file": file, "parent": file, "passage": passage, "line": line}


def test_each_file_is_a_document_under_its_first_heading_or_its_name(tmp_path):
    files = {"b.md": "intro\n# Title\n\ntext", "a/c.TXT": "\n\nplain", "README": "Read\n===\nx"}
    corpus = load_corpus(write(tmp_path, **files))
    assert corpus == {
        "README": Document("Read\n===\nx", "Read", where("README")),
        "a/c.TXT": Document("plain", "c.TXT", where("a/c.TXT", line=3)),
        "b.md": Document("intro\n# Title\n\ntext", "Title", where("b.md")),
    }
    assert list(corpus) == ["README", "a/c.TXT", "b.md"]


def test_a_long_file_is_several_documents_with_one_title(tmp_path):
    text = "# T\none two\n\nthree four five\n\nsix seven"
    corpus = load_corpus(write(tmp_path, **{"a.md": text}), passage_words=4)
    assert corpus == {
        "a.md#1": Document("# T\none two", "T", where("a.md", 1, 1)),
        "a.md#2": Document("three four five", "T", where("a.md", 2, 4)),
        "a.md#3": Document("six seven", "T", where("a.md", 3, 6)),
    }
    repeating = load_corpus(tmp_path, passage_words=4, overlap_words=1)
    assert [each.text.split()[0] for each in repeating.values()] == ["#", "two", "five"]


def test_other_kinds_hidden_files_and_links_are_skipped(tmp_path, caplog):
    outside = write(tmp_path / "outside", **{"far.md": "far"})
    folder = write(
        tmp_path / "in",
        **{
            "a.md": "a",
            "b.html": "b",
            "Makefile": "c",
            ".d.md": "d",
            ".git__e.md": "e",
            "f.md": "",
        },
    )
    (folder / "link").symlink_to(outside)
    (folder / "link.md").symlink_to(outside / "far.md")
    (folder / "again.md").symlink_to("a.md")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.md")  # whoever reads it waits for ever
    with caplog.at_level(logging.WARNING):
        assert list(load_corpus(folder)) == ["a.md"]
    kinds = dict(message.split(": ")[-2:] for message in caplog.messages)
    assert kinds["links and pipes, skipped"].endswith(", such as 'again.md'")
    assert kinds["files without text, skipped"] == "1, such as 'f.md'"


def test_files_of_other_types_are_named_once(tmp_path, caplog):
    files = {"a.md": "good", "b.html": "<p>", "sub__c.pdf": "x", ".hidden.pdf": "x"}
    with caplog.at_level(logging.WARNING):
        load_corpus(write(tmp_path, **files))
    [message] = caplog.messages
    assert message.endswith("files of other types, skipped: 2, such as 'b.html'")


def test_files_without_text_are_listed_once_and_skipped(tmp_path, caplog):
    bad = {f"{name}.txt": b"\xff\xfe" for name in "bcd"} | {"nul.txt": b"a\0b"}
    with caplog.at_level(logging.WARNING):
        corpus = load_corpus(write(tmp_path, **{"a.md": "good", **bad}))
    assert list(corpus) == ["a.md"]
    [record] = caplog.records
    assert "skipped b.txt, c.txt, d.txt and 1 more, which cannot" in record.getMessage()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path, caplog):
    write(tmp_path, **{"a.md": "good", "b.md": "b", "closed__c.md": "c"})
    (tmp_path / "b.md").chmod(0)
    (tmp_path / "closed").chmod(0)
    assert list(load_corpus(tmp_path)) == ["a.md"]
    (tmp_path / "closed").chmod(0o700)
    assert "closed: skipped (Permission denied)" in caplog.text
    assert "skipped b.md" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_not_text_cannot_be_an_id(tmp_path, caplog):
    write(tmp_path, **{"a.md": "good"})
    try:
        (tmp_path / os.fsdecode(b"b\xff.md")).write_text("b")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert list(load_corpus(tmp_path)) == ["a.md"]
    assert "cannot be read as UTF-8 text" in caplog.text


def test_byte_order_marks_and_ends_of_lines_are_no_text(tmp_path):
    write(tmp_path, **{"a.md": b"\xef\xbb\xbf# T\r\n\r\none\rtwo\r\n"})
    assert load_corpus(tmp_path)["a.md"] == Document("# T\n\none\ntwo", "T", where("a.md"))


def test_rows_go_before_texts(tmp_path):
    write(tmp_path, **{"README.md": "about", "corpus.jsonl": '{"_id": "a", "text": "row"}'})
    assert list(load_corpus(tmp_path)) == ["a"]


@pytest.mark.parametrize("files", [{}, {"a.html": "x"}, {"a.md": " \n"}])
def test_a_folder_without_rows_or_texts_raises(tmp_path, files):
    message = refusal(load_corpus, write(tmp_path, **files))
    assert (
        "has neither corpus.jsonl (or .jsonl.gz, .parquet, .csv, .tsv) nor text files (.txt"
        in message
    )


def test_impossible_limits_and_missing_folders_raise(tmp_path):
    with pytest.raises(InvalidArgument, match="passage_words=0 is below 1"):
        load_corpus(write(tmp_path, **{"a.md": "x"}), passage_words=0)
    with pytest.raises(DataError, match="nowhere: does not exist"):
        load_corpus(tmp_path / "nowhere")


def test_a_folder_of_texts_can_be_measured_with_a_query_log(tmp_path):
    write(tmp_path / "notes", **{"a.md": "x"})
    write(tmp_path, **{"log.txt": "what?\n"})
    data = load_query_log(tmp_path / "notes", tmp_path / "log.txt")
    assert (data.name, list(data.corpus)) == ("notes", ["a.md"])
