from pathlib import Path

import pytest

from nas.storage.mounts import is_on_network

MOUNTS = r"""
22 1 0:21 / / rw,relatime - ext4 /dev/vda rw
23 22 0:22 / /home rw shared:1 - nfs4 server:/home rw,vers=4.2
24 23 0:23 / /home/me/scratch rw - xfs /dev/vdb rw
25 22 0:24 / /mnt/my\040disk rw - cifs //server/share rw
26 22 0:25 / /data rw - ext4 /dev/vdc rw
27 26 0:26 / /data rw - fuse.sshfs me@server: rw
28 22 0:27 / /usb rw - fuseblk /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/study.db", False),
        ("/homes/study.db", False),
        ("/home/me/study.db", True),
        ("/home/me/scratch/runs/study.db", False),
        ("/mnt/my disk/study.db", True),
        ("/data/study.db", True),
        ("/usb/study.db", False),
    ],
)
def test_the_nearest_mount_decides(path: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS.lstrip())
    assert is_on_network(Path(path), tmp_path / "mountinfo") is expected


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(
        f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {tmp_path}/far rw - nfs server:/ rw\n"
    )
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert is_on_network(tmp_path / "near" / "study.db", tmp_path / "mountinfo")


def test_where_nothing_is_known_it_is_no(tmp_path: Path) -> None:
    assert not is_on_network(tmp_path / "study.db", tmp_path / "none")
