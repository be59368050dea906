"""Archives that must not be unpacked, and what is said of them."""

import gzip
import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from tests.modelstore.conftest import Member, special, tar

from littoral.modelstore.errors import ArchiveUnsafe, LayoutInvalid
from littoral.modelstore.tree import FOLDER, MAX_DEPTH, MAX_MEMBERS, Tree
from littoral.modelstore.unpack import HEAD, MAX_SLACK, archive_kind, unpack
from littoral.modelstore.zst import zstd


class Bytes(io.BytesIO):
    """An archive that has arrived as a whole."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.received = len(body)


def unpacked(body: bytes, into: Path) -> Path:
    kind = archive_kind(body[:HEAD])
    assert kind is not None
    unpack(Bytes(body), kind, Tree(into, lambda _: None))
    return into


UNSAFE: dict[str, tuple[dict[str, Member], str]] = {
    "absolute": ({"/etc/passwd": b"x"}, "/etc/passwd"),
    "parent": ({"1/../../x": b"x"}, "1/../../x"),
    "parent at the end": ({"1/..": b"x"}, "1/.."),
    "parent as a folder": ({"../x": special(tarfile.DIRTYPE)}, "../x"),
    "absolute link": ({"1": special(tarfile.SYMTYPE, "/etc")}, "'1' is a symbolic link to '/etc'"),
    "link out": ({"1/a": special(tarfile.SYMTYPE, "../../x")}, "../../x"),
    "link up and in again": ({"1/a": special(tarfile.SYMTYPE, "../b")}, "free of '..'"),
    "write through a link": ({"b": b"", "a": special(tarfile.SYMTYPE, "b"), "a/x": b"x"}, "through a link"),
    "folder over a link": ({"b": b"", "a": special(tarfile.SYMTYPE, "b"), "./a": special(tarfile.DIRTYPE)}, "a link"),
    "write through a file": ({"a": b"", "a/x": b"x"}, "through a file"),
    "hard link out": ({"1/a": special(tarfile.LNKTYPE, "../../etc/shadow")}, "leaves the artifact"),
    "hard link absolute": ({"1/a": special(tarfile.LNKTYPE, "/etc/shadow")}, "leaves the artifact"),
    "hard link to nothing": ({"1/a": special(tarfile.LNKTYPE, "1/b")}, "no file before it"),
    "hard link to a link": (
        {"l": special(tarfile.SYMTYPE, "x"), "h": special(tarfile.LNKTYPE, "l")},
        "no file before it",
    ),
    "character device": ({"1/null": special(tarfile.CHRTYPE)}, "neither a file"),
    "block device": ({"1/sda": special(tarfile.BLKTYPE)}, "neither a file"),
    "pipe": ({"1/pipe": special(tarfile.FIFOTYPE)}, "neither a file"),
    "twice": ({"a": b"x", "./a": b"y"}, "twice"),
    "file over a folder": ({"a/x": b"x", "a": b"y"}, "twice"),
    "long component": ({"a" * 256: b"x"}, "too long"),
    "long path": ({"/".join(["a" * 99] * 11): b"x"}, "too long"),
    "sparse": ({"s": special(tarfile.GNUTYPE_SPARSE)}, "sparse"),
    "huge header": ({"x" * 70_000: b""}, "has a header of"),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_archives_are_refused_by_member(tmp_path: Path, case: str) -> None:
    members, words = UNSAFE[case]

    with pytest.raises(ArchiveUnsafe) as refused:
        unpacked(tar(members), tmp_path / "into")

    assert words in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["into"], "nothing outside"


def test_links_that_stay_inside_are_kept(tmp_path: Path) -> None:
    members: dict[str, Member] = {
        "1/lib.so.1": b"code",
        "1/lib.so": special(tarfile.SYMTYPE, "lib.so.1"),
        "2": special(tarfile.SYMTYPE, "1"),
        "1/copy": special(tarfile.LNKTYPE, "1/lib.so.1"),
    }

    into = unpacked(tar(members), tmp_path / "into")

    assert (into / "2" / "lib.so").read_bytes() == b"code"
    assert (into / "1" / "copy").read_bytes() == b"code"


def test_owners_and_modes_are_ours_but_for_the_execute_bit(tmp_path: Path) -> None:
    tool = tarfile.TarInfo()
    tool.mode, tool.uid = 0o4711, 12345
    into = unpacked(tar({"tool": tool, "file": b"x"}), tmp_path / "into")

    assert [(into / name).stat().st_mode & 0o7777 for name in ("tool", "file")] == [0o755, 0o644]
    assert (into / "tool").stat().st_uid == into.stat().st_uid


def test_a_bomb_is_stopped_where_it_swells(tmp_path: Path) -> None:
    body = tar({"1/zeros": bytes(MAX_SLACK + (8 << 20))}, "w:gz")

    with pytest.raises(ArchiveUnsafe, match=r"20 times .* '1/zeros'"):
        unpacked(body, tmp_path / "into")


def described(size: int) -> tarfile.TarInfo:
    """A folder with an extended header of `size` bytes and a little more."""
    info = special(tarfile.DIRTYPE)
    info.pax_headers = {"comment": "z" * size}
    return info


def test_headers_swell_an_archive_as_files_do(tmp_path: Path) -> None:
    """Neither the files nor the headers do it alone."""
    zeros: dict[str, Member] = {"1/zeros": bytes(MAX_SLACK - (1 << 20))}
    headers = {f"d{number}": described(60_000) for number in range(200)}
    assert (unpacked(tar(zeros, "w:gz"), tmp_path / "files") / "1" / "zeros").exists()
    assert (unpacked(tar(headers, "w:gz"), tmp_path / "headers") / "d199").exists()

    with pytest.raises(ArchiveUnsafe, match=r"20 times .* 'd"):
        unpacked(tar(zeros | headers, "w:gz"), tmp_path / "into")


def test_the_headers_of_an_archive_are_bounded_together(tmp_path: Path) -> None:
    body = tar({f"d{number}": described(60_000) for number in range(300)})

    with pytest.raises(ArchiveUnsafe) as refused:
        unpacked(body, tmp_path / "into")

    assert str(refused.value).startswith("the archive's headers have more than 16 MiB, at ")
    assert str(refused.value).endswith("; pack it without extended attributes")


def extended(kind: bytes, size: int) -> bytes:
    """An extended header with one record of `size` bytes, which must have five digits."""
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, size
    record = f"{size} comment=".encode().ljust(size - 1, b"z") + b"\n"
    return header.tobuf(tarfile.GNU_FORMAT) + record + bytes(-size % tarfile.BLOCKSIZE)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE], ids=["of one member", "global"])
def test_headers_that_are_held_in_memory_together_are_bounded(tmp_path: Path, kind: bytes) -> None:
    """Global ones are held to the end, however many members are between them."""
    between = b"" if kind == tarfile.XHDTYPE else special(tarfile.DIRTYPE).tobuf()
    once, twice = extended(kind, 40_000), extended(kind, 40_000) + between + extended(kind, 40_000)
    assert unpacked(once + tar({"a": b""}), tmp_path / "once").exists()

    with pytest.raises(ArchiveUnsafe, match="has a header of 80000 bytes"):
        unpacked(twice + tar({"a": b""}), tmp_path / "twice")


def test_of_members_that_were_unpacked_nothing_is_held(tmp_path: Path) -> None:
    count = 5000
    body = tar({f"d{number}": described(3000) for number in range(count)})
    archive, tree = Bytes(body), Tree(tmp_path / "into", lambda _: None)
    tracemalloc.start()

    unpack(archive, "tar", tree)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(1 for _ in (tmp_path / "into").iterdir()) == count
    assert peak < 6 << 20


@pytest.mark.parametrize("dialect", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_and_links_are_read_in_every_dialect(tmp_path: Path, dialect: int) -> None:
    """What names them lies in headers before their own, or in a member that is long gone."""
    folder = "/".join(["a" * 40] * 3)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=dialect) as archive:
        file = tarfile.TarInfo(f"{folder}/weights")
        file.size = 4
        archive.addfile(file, io.BytesIO(b"data"))
        for number in range(30):
            archive.addfile(tarfile.TarInfo(f"{folder}/{number}"))
        if dialect != tarfile.USTAR_FORMAT:
            link = special(tarfile.LNKTYPE, f"{folder}/weights")
            link.name = f"{folder}/{'again' * 30}"
            archive.addfile(link)

    into = unpacked(buffer.getvalue(), tmp_path / "into") / folder

    assert (into / "weights").read_bytes() == b"data"
    assert dialect == tarfile.USTAR_FORMAT or (into / ("again" * 30)).samefile(into / "weights")
    assert len(list(into.iterdir())) >= 31


def test_members_are_counted(tmp_path: Path) -> None:
    body = tar({f"d/{number}": special(tarfile.DIRTYPE) for number in range(MAX_MEMBERS + 1)})

    with pytest.raises(ArchiveUnsafe, match="more than 10000 members"):
        unpacked(body, tmp_path / "into")


def test_a_chain_of_headers_is_no_way_to_exhaust_the_stack(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4
    block = header.tobuf(tarfile.GNU_FORMAT) + b"abc\0".ljust(512, b"\0")

    with pytest.raises(LayoutInvalid, match="not a readable tar"):
        unpacked(block * 5000, tmp_path / "into")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_gzip_is_damage(tmp_path: Path, keep: float) -> None:
    body = tar({"1/a": bytes(range(256)) * 999, "1/b": b"x" * 99_999}, "w:gz")

    with pytest.raises(LayoutInvalid, match=r"not a readable tar\.gz"):
        unpacked(body[: int(len(body) * keep)], tmp_path / "into")


def test_a_gzip_of_several_members_is_read_to_its_end(tmp_path: Path) -> None:
    body = tar({"1/a": b"x" * 1000, "1/b": b"y" * 1000})
    halves = gzip.compress(body[:1536]) + gzip.compress(body[1536:])

    assert (unpacked(halves, tmp_path / "into") / "1" / "b").read_bytes() == b"y" * 1000


def test_zstd_is_unpacked_in_one_frame_and_in_several(tmp_path: Path) -> None:
    body = tar({"1/a": b"x" * 1000, "1/b": b"y" * 1000})

    one = unpacked(zstd.compress(body), tmp_path / "one")
    several = unpacked(zstd.compress(body[:1536]) + zstd.compress(body[1536:]), tmp_path / "several")

    assert (one / "1" / "b").read_bytes() == (several / "1" / "b").read_bytes() == b"y" * 1000


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_zstd_is_damage(tmp_path: Path, keep: float) -> None:
    body = zstd.compress(tar({"1/a": os.urandom(99_999)}))

    with pytest.raises(LayoutInvalid, match=r"not a readable tar\.zst"):
        unpacked(body[: int(len(body) * keep)], tmp_path / "into")


def with_window(log: int) -> bytes:
    """A tar.zst that says its window is 2**log bytes, whatever it holds."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: log}
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(tar({"1/a": b"x"})) + compressor.flush()


def test_a_zstd_whose_window_takes_the_memory_is_refused(tmp_path: Path) -> None:
    """zstd --long makes these: decompressing keeps the last 128 MiB in memory."""
    assert (unpacked(with_window(26), tmp_path / "fits") / "1" / "a").read_bytes() == b"x"

    with pytest.raises(ArchiveUnsafe) as refused:
        unpacked(with_window(27), tmp_path / "into")

    assert str(refused.value) == (
        "the archive needs a window of more than 64 MiB in memory to be decompressed; compress it without --long and "
        "with a level of at most 21"
    )


def test_a_bomb_of_zstd_is_stopped_where_it_swells(tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnsafe, match=r"20 times .* '1/zeros'"):
        unpacked(zstd.compress(tar({"1/zeros": bytes(MAX_SLACK + (8 << 20))})), tmp_path / "into")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (tar({"a": b"x"})[:512], "tar"),
        (gzip.compress(b""), "tar.gz"),
        (zstd.compress(b""), "tar.zst"),
        (b"PK\x03\x04" + bytes(508), None),
        (bytes(512), None),
        (b"", None),
        (b"\x08\x07\x12\x07pytorch" * 50, None),
    ],
)
def test_archives_are_known_by_their_bytes(head: bytes, kind: str | None) -> None:
    assert archive_kind(head[:HEAD]) == kind


def test_folders_that_only_paths_imply_are_counted(tmp_path: Path) -> None:
    bomb = tar({f"{number}/" + "a/" * 50 + "f": b"" for number in range(300)})

    with pytest.raises(ArchiveUnsafe, match=f"more than {MAX_MEMBERS} members and folders"):
        unpacked(bomb, tmp_path / "into")

    assert sum(len(folders) for _, folders, _ in os.walk(tmp_path / "into")) <= MAX_MEMBERS


def test_a_folder_that_is_a_member_counts_once(tmp_path: Path) -> None:
    folders = {f"{number:04}": special(tarfile.DIRTYPE) for number in range(MAX_MEMBERS)}

    assert len(list(unpacked(tar(folders), tmp_path / "into").iterdir())) == MAX_MEMBERS


def test_each_folder_is_charged_a_block(tmp_path: Path) -> None:
    spent: list[int] = []
    body = tar({"a/b/f": b"xyz", "a/b/g": b"", "a/c": special(tarfile.DIRTYPE), "a/c/h": b"x"})

    unpack(Bytes(body), "tar", Tree(tmp_path / "into", spent.append))

    assert spent == [FOLDER, FOLDER, 3, FOLDER, 1]


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_how_deep_folders_may_lie(tmp_path: Path, depth: int) -> None:
    body = tar({"a/" * depth + "f": b"x"})
    if depth > MAX_DEPTH:
        with pytest.raises(ArchiveUnsafe, match="lies more than 64 folders deep"):
            unpacked(body, tmp_path / "into")
    else:
        unpacked(body, tmp_path / "into")
