"""Tars that do not depend on when, where or by whom they were written: image layers and docker-archives."""

import hashlib
import io
import json
import os
import stat
import tarfile
from pathlib import Path


def write_layer(target: Path, root: Path, *, keep: bool) -> None:
    """Write the tree below `root` as an image layer.

    Entries come sorted, without times and owner names. With `keep`, owner and mode are those on the disk (a Debian
    root filesystem relies on them); without, everything is root's, readable by all and executable where it was.
    Hard links become copies; device nodes and sockets are left out, the container runtime brings its own.
    """
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(_walk(root)):
            entry = _entry(path, path.relative_to(root).as_posix(), keep=keep)
            if entry is None:
                continue
            if entry.isreg():
                with path.open("rb") as content:
                    archive.addfile(entry, content)
            else:
                archive.addfile(entry)


def write_image(target: Path, tag: str, config: dict[str, object], layers: list[Path]) -> None:
    """Write a docker-archive with one image: `layers` lowest first, `config` completed by their digests."""
    digests = [_digest(layer) for layer in layers]
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]}
    config_json = json.dumps({**config, "rootfs": rootfs}, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config_json).hexdigest()}.json"
    names = [f"{digest}/layer.tar" for digest in digests]
    manifest = json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": names}]).encode()
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in ((config_name, config_json), ("manifest.json", manifest)):
            archive.addfile(_file(name, len(data)), io.BytesIO(data))
        for name, layer in zip(names, layers, strict=True):
            with layer.open("rb") as content:
                archive.addfile(_file(name, layer.stat().st_size), content)


def _walk(root: Path) -> list[Path]:
    """List everything below a folder, links not followed."""
    return [
        Path(folder) / name for folder, folders, files in os.walk(root, followlinks=False) for name in folders + files
    ]


def _entry(path: Path, name: str, *, keep: bool) -> tarfile.TarInfo | None:
    """Describe one file, folder or symbolic link; None for anything else."""
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    entry = tarfile.TarInfo(name)
    if keep:
        entry.uid, entry.gid, entry.mode = status.st_uid, status.st_gid, mode
    else:
        entry.mode = 0o755 if stat.S_ISDIR(status.st_mode) or mode & stat.S_IXUSR else 0o644
    if stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
    elif stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
    elif stat.S_ISREG(status.st_mode):
        entry.size = status.st_size
    else:
        return None
    return entry


def _file(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
