"""Network file systems are refused; tested with a generated mount table of Linux."""

import sys
from pathlib import Path

import pytest

from nestvec.engines.embedded import folder as file_system
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.folder import check_file_system
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.manifest import Manifest
from nestvec.errors import DataError
from nestvec.types import OperatingPoint

MOUNTS = """\
sysfs /sys sysfs rw,nosuid 0 0
/dev/vda1 / ext4 rw,relatime 0 0
server:/export /mnt/shared nfs4 rw,vers=4.2 0 0
tmpfs /mnt/shared/local tmpfs rw 0 0
//server/share /mnt/with\\040space\\134and\\011more cifs rw 0 0
user@host:/home /home/user/far fuse.sshfs rw 0 0
/dev/vdb1 /mnt/over ext4 rw 0 0
server:/export /mnt/over nfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(file_system, "_MOUNTS", tmp_path / "mounts")
    (tmp_path / "mounts").write_text(MOUNTS)
    return tmp_path / "mounts"


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/mnt/shared", "nfs4"),
        ("/mnt/shared/deep/er", "nfs4"),
        ("/mnt/with space\\and\tmore/index", "cifs"),
        ("/home/user/far/index", "fuse.sshfs"),
        ("/mnt/over/index", "nfs"),  # mounted over another
    ],
)
def test_a_network_file_system_is_refused(folder, kind):
    with pytest.raises(DataError, match=rf"is on a network file system \({kind}\).*local disk"):
        check_file_system(Path(folder))


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(
    "folder", ["/", "/home/user", "/mnt/shared2", "/mnt/shared/local/index", "/home/user/farther"]
)
def test_a_local_file_system_is_accepted(folder):
    check_file_system(Path(folder))


def test_a_symbolic_link_is_resolved(mounts, tmp_path):
    mounts.write_text(f"{MOUNTS}server:/export {tmp_path}/far nfs rw 0 0\n")
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    with pytest.raises(DataError, match="near: is on a network file system"):
        check_file_system(tmp_path / "near")


def test_nothing_is_refused_if_the_file_system_is_unknown(mounts, monkeypatch):
    mounts.unlink()
    check_file_system(Path("/mnt/shared"))
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(sys, "platform", "darwin")
    check_file_system(Path("/mnt/shared"))


def test_an_index_on_a_network_file_system_is_neither_created_nor_opened(mounts, tmp_path, model):
    point = OperatingPoint.parse("16:int8")
    create_folder(tmp_path / "i", Manifest(model, "float16", point))
    mounts.write_text(f"/dev/vda1 / ext4 rw 0 0\nserver:/export {tmp_path} nfs rw 0 0\n")
    with pytest.raises(DataError, match="i: is on a network file system"):
        EmbeddedEngine(tmp_path / "i")
    with pytest.raises(DataError, match="new: is on a network file system"):
        create_folder(tmp_path / "new", Manifest(model, "float16", point))
    assert not (tmp_path / "new").exists()
