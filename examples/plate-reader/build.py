"""Builds the plate reader's archives, one for each variant, and prints their digests as JSON.

    python build.py [--output FOLDER] [--cache FOLDER] [--update]

An archive holds the content of one Triton model directory. The networks come out of the wheel that requirements.txt
pins by hash; the rest lies in model/. The same inputs give the same bytes on every machine: entries are sorted and
carry no time and no owner, and the tar is not compressed, because zlib's output differs between builds of zlib (and
trained weights hardly shrink). archives.json holds the digests that the manifest names: a build that gives others
fails, unless --update says that they are to change.

Exit status: 0 when the archives are built and as pinned, 1 with a sentence on standard error otherwise.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final, TypedDict

HERE: Final = Path(__file__).resolve().parent
REQUIREMENTS: Final = HERE / "requirements.txt"
PINNED: Final = HERE / "archives.json"
LICENCE: Final = HERE.parents[1] / "LICENSE"
"""Apache License 2.0: this repository's, and the networks' own."""
WHEEL: Final = "rapidocr_onnxruntime-1.4.4-py3-none-any.whl"
NETWORKS: Final = {
    "detection": "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
    "direction": "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "recognition": "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
}
VARIANTS: Final = {
    "full": ("detection", "direction", "recognition"),
    "compact": ("detection", "recognition"),
}
"""The networks of each variant; how they differ otherwise stands in model/<variant>.pbtxt."""


class BuildError(Exception):
    """The archives cannot be built; the message says why in one sentence."""


class Archive(TypedDict):
    """One built archive, as archives.json lists it; `size` in bytes."""

    variant: str
    file: str
    sha256: str
    size: int


def main() -> int:
    """Build, compare with what is pinned, print."""
    parser = argparse.ArgumentParser(description="Build the plate reader's archives and print their digests as JSON.")
    parser.add_argument("--output", type=Path, default=default_cache() / "archives", help="default: %(default)s")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="for the wheel (default: %(default)s)")
    parser.add_argument("--update", action="store_true", help=f"pin the digests in {PINNED.name} anew")
    arguments = parser.parse_args()
    try:
        archives = build(arguments.output, arguments.cache)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    text = json.dumps(archives, indent=2) + "\n"
    print(text, end="")
    if arguments.update:
        PINNED.write_text(text)
    elif archives != json.loads(PINNED.read_text()):
        print(
            f"the archives differ from {PINNED.name}: run again with --update and name the digests in the manifest",
            file=sys.stderr,
        )
        return 1
    return 0


def default_cache() -> Path:
    """Return the folder that keeps downloads between runs: LITTORAL_CACHE, else the user's cache folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "littoral"
    return Path(os.environ.get("LITTORAL_CACHE") or base) / "examples" / HERE.name


def build(output: Path, cache: Path) -> list[Archive]:
    """Write every variant's archive into `output` and return what was written.

    Raises:
        BuildError: the wheel with the networks cannot be had.

    """
    output.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel(cache)) as source:
        networks = {name: source.read(path) for name, path in NETWORKS.items()}
    archives: list[Archive] = []
    for variant in VARIANTS:
        data = pack(contents(variant, networks))
        path = output / f"plate-reader-{variant}.tar"
        partial = path.with_suffix(".partial")
        partial.write_bytes(data)
        partial.replace(path)
        digest = hashlib.sha256(data).hexdigest()
        archives.append({"variant": variant, "file": path.name, "sha256": digest, "size": len(data)})
    return archives


def wheel(cache: Path) -> Path:
    """Return the pinned wheel, from the cache or through pip, which checks its hash either way.

    Raises:
        BuildError: pip could not get it, or its bytes are not the pinned ones.

    """
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(REQUIREMENTS)]
    # pip accepts a matching file in the target folder instead of asking the registry's for it; without this option it
    # would still ask for the list of versions, and fail on a machine without internet.
    offline = ["--no-index", "--find-links", str(cache)] if (cache / WHEEL).exists() else []
    command = [sys.executable, "-m", "pip", "download", *options, *offline, "--dest", str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{WHEEL} could not be had through pip: {done.stderr.strip()}")
    return cache / WHEEL


def contents(variant: str, networks: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of a variant's archive by their names in it."""
    model = HERE / "model"
    return {
        "config.pbtxt": (model / f"{variant}.pbtxt").read_bytes(),
        "LICENSE": LICENCE.read_bytes(),
        "NOTICE": (model / "NOTICE").read_bytes(),
        **{f"1/{code.name}": code.read_bytes() for code in model.glob("*.py")},
        **{f"1/{name}.onnx": networks[name] for name in VARIANTS[variant]},
    }


def pack(files: dict[str, bytes]) -> bytes:
    """Return a tar of these files that depends on their names and bytes alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            archive.addfile(entry, io.BytesIO(files[name]))
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
