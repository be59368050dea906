"""One model in every shape in which a source may hold it, and its digests, computed as a user would."""

import hashlib
import io
import random
import tarfile
from collections.abc import Mapping
from typing import Final

from backports import zstd

NAME: Final = "plate"
CONFIG: Final = f'name: "{NAME}"\n'
"""What the operator generated; the artifacts bring none of their own, and in their repositories it is the only file
that does not come from the source."""
WEIGHTS: Final = random.Random(5).randbytes(600_000)  # noqa: S311 - nothing secret: bytes that do not compress
FILES: Final[Mapping[str, bytes]] = {
    "1/model.py": b"import triton_python_backend_utils\n" * 40,
    "1/weights/layers.bin": WEIGHTS,
    "1/weights/scales.bin": WEIGHTS[:70_000],
    "labels.txt": b"plate\nno plate\n",
}
"""A Triton model directory."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def folder_digest(files: Mapping[str, bytes]) -> str:
    """What `find . -type f | sed s,^./,, | LC_ALL=C sort | xargs sha256sum | sha256sum` prints of the folder."""
    lines = (f"{sha256(files[path])}  {path}\n".encode() for path in sorted(files, key=str.encode))
    return sha256(b"".join(lines))


def tar(files: Mapping[str, bytes], *, gz: bool = False) -> bytes:
    """The files packed, gzipped if wanted; the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if gz else "w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


TAR: Final = tar(FILES)
TAR_GZ: Final = tar(FILES, gz=True)
TAR_ZST: Final = zstd.compress(TAR)
