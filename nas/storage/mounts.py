"""What kind of file system a file lies on."""

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
# fmt: off
_SHARED_BETWEEN_MACHINES = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "glusterfs", "gpfs", "lustre",
    "nfs", "nfs4", "ocfs2", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs",
})
# fmt: on


def is_on_network(path: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether another machine may have the file open at the same time.

    What FUSE serves counts, because it can be anything (sshfs, rclone). Unknown is no.
    """
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return False
    resolved, nearest, kind = path.resolve(), 0, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), before.split()[4]))
        # Of two mounts on one point, the later hides the earlier.
        if resolved.is_relative_to(mount) and len(mount.parts) >= nearest:
            nearest, kind = len(mount.parts), after.split()[0]
    return kind.partition(".")[0] in _SHARED_BETWEEN_MACHINES
