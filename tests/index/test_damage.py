"""Every damage to an index folder ends in one line of ours; failed builds leave the old index."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nestvec.errors import DamagedFile, DataError, NestvecError
from nestvec.index import embedded
from nestvec.index.embedded import EmbeddedIndex, build
from nestvec.types import Document, OperatingPoint

FILES = [
    "manifest.json",
    "stage-0.codes",
    "stage-1.codes",
    "stage-2.codes",
    "empty.rows",
    "documents.sqlite",
]
READ_AT_OPEN = ("stage-0.codes", "empty.rows")
POINT = OperatingPoint.parse("8:int8")


def open_and_close(folder, **options):
    EmbeddedIndex(folder, **options).close()


def test_the_files_damaged_here_are_all_there_are(folder):
    assert sorted(FILES) == sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError) as caught:
        open_and_close(folder)
    told = f"{folder}: is not an index folder (no manifest.json)"
    if name != "manifest.json":
        told = f"{folder / name}: is missing: rebuild the index"
    assert str(caught.value) == told


@pytest.mark.parametrize("share", [0, 0.5, 1])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(folder, name, share):
    size = (folder / name).stat().st_size
    os.truncate(folder / name, min(int(size * share), size - 2))  # the last byte may be a blank
    with pytest.raises(DamagedFile) as caught:
        open_and_close(folder)
    assert str(caught.value).startswith(f"{folder / name}: ")
    assert "rebuild the index" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_has_grown_is_named(folder, name):
    with (folder / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DamagedFile, match="rebuild the index"):
        open_and_close(folder)


def flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1 << (position % 8)
    file.write_bytes(data)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(folder, name):
    size = (folder / name).stat().st_size
    good = (folder / name).read_bytes()
    for position in random.Random(0).sample(range(size), min(size, 40)):
        flip(folder / name, position)
        with pytest.raises(NestvecError):
            open_and_close(folder, verify=name not in (*READ_AT_OPEN, "manifest.json"))
        (folder / name).write_bytes(good)
    open_and_close(folder, verify=True)


def test_any_changed_value_of_the_manifest_is_found(folder):
    # Each digit, letter by letter: the JSON stays valid nearly everywhere.
    file = folder / "manifest.json"
    text = file.read_text()
    values = json.loads(text)
    for position in random.Random(0).sample(range(len(text)), 400):
        if text[position].isdigit():
            changed = text[:position] + str((int(text[position]) + 1) % 10) + text[position + 1 :]
        else:
            changed = text[:position] + "e" + text[position + 1 :]
        try:
            if json.loads(changed) == values:
                continue
        except ValueError:
            pass
        file.write_text(changed)
        with pytest.raises(DataError, match=r"manifest\.json: "):
            open_and_close(folder)


def test_a_flipped_bit_in_the_documents_never_ends_in_a_traceback(folder, queries, corpus):
    # Without verify it may go unnoticed at open; then a search finds what is left or says so.
    file = folder / "documents.sqlite"
    good = file.read_bytes()
    caught = 0
    for position in random.Random(1).sample(range(len(good)), 150):
        flip(file, position)
        try:
            index = EmbeddedIndex(folder)
        except DamagedFile:
            caught += 1
            continue
        try:
            hits = index.search(queries, 20)
            assert all(len(ids) == 20 for ids in hits.ids)
            index.get(list(corpus))
        except DamagedFile as error:
            assert "documents.sqlite: " in str(error)
            caught += 1
        finally:
            index.close()
            file.write_bytes(good)
    assert caught > 0


def test_a_zeroed_page_of_the_documents_is_damage(folder, queries, corpus):
    file = folder / "documents.sqlite"
    good = file.read_bytes()
    for start in range(0, len(good), 4096):
        file.write_bytes(good[:start] + bytes(4096) + good[start + 4096 :])
        with pytest.raises(DamagedFile, match=r"documents\.sqlite: "):
            index = EmbeddedIndex(folder)
            try:
                index.search(np.concatenate((queries, -queries)), 20)
                index.get(list(corpus))
                index._documents.ids(range(250))
            finally:
                index.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "index format 2 != 1: rebuild the index"),
        ({"version": "1"}, "index format 1 != 1"),
        ({"format": "theirs"}, "is not of an index"),
        ({"n": 249}, "has another checksum than when written"),
        ({"unknown": 1}, "has another checksum than when written"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(folder, change, told):
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError) as caught:
        open_and_close(folder)
    assert f"{file}: {told}" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{}", "[]", "7", "null", "{", "\xff", '{"format": []}'])
def test_what_is_no_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"manifest\.json: "):
        open_and_close(folder)


def test_what_is_no_folder_of_an_index_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name in ("file", "empty", "nothing"):
        with pytest.raises(DataError, match="is not an index folder"):
            open_and_close(tmp_path / name)


def test_a_file_that_may_not_be_read_is_named(folder, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        with pytest.raises(DataError, match=r"manifest.json: cannot be read \(Permission denied"):
            open_and_close(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *a, **k: refuse(self))
        with pytest.raises(DataError, match=r"manifest.json: cannot be read|stage-0.codes: cannot"):
            open_and_close(folder)


# Builds that fail


def content(folder):
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("step", ["write_documents", "empty_rows", "checksum", "Manifest"])
@pytest.mark.parametrize("fault", [RuntimeError, OSError, KeyboardInterrupt, MemoryError])
def test_a_fault_in_the_middle_leaves_the_old_index(
    folder, tmp_path, model, queries, monkeypatch, step, fault
):
    before = content(tmp_path)

    def fail(*args, **kwargs):
        raise fault

    monkeypatch.setattr(embedded, step, fail)
    with pytest.raises(DataError if fault is OSError else fault):
        build(
            folder,
            model=model,
            corpus={"a": Document("b")},
            embeddings=np.ones((1, 32), np.float32),
            point=POINT,
        )
    assert content(tmp_path) == before
    monkeypatch.undo()
    index = EmbeddedIndex(folder, verify=True)
    assert len(index.search(queries, 3).ids) == len(queries)
    index.close()


def test_a_damaged_index_can_be_rebuilt_in_its_place(folder, model):
    flip(folder / "manifest.json", 50)
    (folder / "documents.sqlite").unlink()
    build(
        folder,
        model=model,
        corpus={"a": Document("b")},
        embeddings=np.ones((1, 32), np.float32),
        point=POINT,
    )
    open_and_close(folder, verify=True)


FULL_DISK = """
import sys
from pathlib import Path
import numpy as np
from nestvec.errors import DataError
from nestvec.index.embedded import build
from nestvec.types import Document, ModelInfo, OperatingPoint

folder, limit, text_bytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
corpus = {str(i): Document("x" * text_bytes) for i in range(2000)}
model = ModelInfo("m", "f" * 64, 512, (512,), "guess", False)
embeddings = np.random.default_rng(0).standard_normal((2000, 512)).astype(np.float32)
try:
    build(folder, model=model, corpus=corpus, embeddings=embeddings,
          point=OperatingPoint.parse("512:float32"))
except DataError as error:
    print(error)
"""


def build_on_a_full_disk(folder, *, limit, text_bytes):
    command = [sys.executable, "-c", FULL_DISK, str(folder), str(limit), str(text_bytes)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file size there")
@pytest.mark.parametrize(
    ("limit", "text_bytes"),
    [
        pytest.param(1_000_000, 10, id="codes"),
        pytest.param(1_000_000, 2_000, id="documents"),
    ],
)
def test_a_limit_of_file_size_leaves_the_old_index(folder, tmp_path, limit, text_bytes):
    before = content(tmp_path)
    done = build_on_a_full_disk(folder, limit=limit, text_bytes=text_bytes)
    assert done.stdout.startswith(f"{folder}: could not be written (")
    assert done.stdout.endswith("); what was there before is untouched\n")
    if text_bytes == 10:
        assert "File too large" in done.stdout
    assert done.stderr == ""
    assert content(tmp_path) == before
    open_and_close(folder, verify=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("text_bytes", [10, 2_000])
def test_a_full_disk_leaves_the_old_index(folder, tmp_path, text_bytes):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        shutil.copytree(folder, disk / "index")
        before = content(disk)
        done = build_on_a_full_disk(disk / "index", limit=0, text_bytes=text_bytes)
        assert done.stdout.startswith(f"{disk / 'index'}: could not be written (")
        told = "database or disk is full" if text_bytes == 2_000 else "No space left on device"
        assert told in done.stdout
        assert content(disk) == before
        open_and_close(disk / "index", verify=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
