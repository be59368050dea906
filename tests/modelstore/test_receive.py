"""What a source hands out, however it comes, becomes the same bytes on the disk."""

import gzip
import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.modelstore.conftest import sha256, special, tar
from tests.modelstore.receiving import COMPRESSED, FILE, FILES, Counted, Scripted, Several, fails, files_in, received

from littoral.modelstore import listing
from littoral.modelstore.errors import (
    ArchiveUnsafe,
    DigestMismatch,
    DiskFull,
    FetchError,
    LayoutInvalid,
    SourceUnreachable,
    TooLarge,
    UnsupportedSource,
)
from littoral.modelstore.sources import CHUNK, Member, SourceChanged, Stream
from littoral.modelstore.tree import FOLDER
from littoral.modelstore.unpack import HEAD

fast = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
CUTS = st.lists(st.integers(0, 5000), max_size=5)
"""Fewer than the attempts that may bring nothing."""


@fast
@given(body=st.binary(min_size=0, max_size=9000), cuts=CUTS, part=st.integers(0, 9000), announced=st.booleans())
def test_a_file_is_the_same_however_often_it_was_cut(body: bytes, cuts: list[int], part: int, announced: bool) -> None:
    """However its bytes begin, they are no archive: see the property below."""
    body = b"\0" * 512 + body
    source, room = Scripted(body, list(cuts), announced=announced), Counted()
    part = min(part, len(body))
    with tempfile.TemporaryDirectory() as folder:
        content = Path(folder) / "content"
        if part:
            content.write_bytes(body[:part])

        came = received(source, content, room=room, part=part)

        assert content.read_bytes() == body
    assert (came.digest, came.size, came.listing.digest()) == (sha256(body), len(body), _alone(body))
    kept = part if part >= HEAD else 0
    assert source.opened[0] == kept
    assert room.spent == len(body) - kept
    assert came.resumed == (kept > 0 or (len(source.opened) > 1 and source.opened[-1] > 0))


def _alone(body: bytes) -> str:
    return listing.Listing((listing.Entry("", len(body), sha256(body)),)).digest()


@fast
@given(kind=st.sampled_from(sorted(COMPRESSED)), cuts=CUTS, piece=st.integers(1, 2000))
def test_an_archive_is_the_same_however_often_it_was_cut(kind: str, cuts: list[int], piece: int) -> None:
    body = COMPRESSED[kind](tar(FILES))
    room = Counted()
    with tempfile.TemporaryDirectory() as folder:
        content = Path(folder) / "content"

        came = received(Scripted(body, list(cuts), piece), content, room=room)

        assert files_in(content) == FILES
        assert came.listing == listing.of(content)
    assert (came.digest, came.size) == (sha256(body), len(body))
    folders = {path.rpartition("/")[0] for path in FILES} - {""}
    assert room.spent == sum(map(len, FILES.values())) + len(folders) * FOLDER, "each byte is written once"


@fast
@given(cuts=st.lists(CUTS, min_size=len(FILES), max_size=len(FILES)))
def test_a_folder_is_the_same_however_often_it_was_cut(cuts: list[list[int]]) -> None:
    members = [
        Member(path, Scripted(FILES[path], cut), len(FILES[path])) for path, cut in zip(FILES, cuts, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        content = Path(folder) / "content"

        came = received(Several(tuple(members)), content)

        assert files_in(content) == FILES
        assert came.listing == listing.of(content)
    assert (came.digest, came.size) == (came.listing.digest(), sum(map(len, FILES.values())))


def test_a_part_that_has_rotted_shows_in_the_digest(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(FILE[:4000] + b"x" + FILE[4001:5000])

    came = received(Scripted(FILE), tmp_path / "content", part=5000)

    assert came.digest != sha256(FILE)
    assert came.resumed, "so that the caller begins anew"


def test_of_a_part_only_what_was_promised_to_be_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(FILE[:5000] + b"rubbish")

    assert received(Scripted(FILE), tmp_path / "content", part=5000).digest == sha256(FILE)


def test_a_part_shorter_than_it_was_said_to_be_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(FILE[:5000])

    assert received(Scripted(FILE), tmp_path / "content", part=6000).digest == sha256(FILE)


def test_a_part_of_what_became_shorter_is_worth_nothing(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(FILE)

    with pytest.raises(SourceChanged):
        received(Scripted(FILE[:1000]), tmp_path / "content", part=len(FILE))


def test_a_part_of_no_bytes_is_begun_anew(tmp_path: Path) -> None:
    """What a power cut leaves of a file whose bytes never reached the disk."""
    (tmp_path / "content").touch()

    assert received(Scripted(FILE), tmp_path / "content").digest == sha256(FILE)
    assert (tmp_path / "content").read_bytes() == FILE


@pytest.mark.parametrize("left", [b"", FILE[:100], FILE[:5000]])
def test_a_part_in_the_place_of_a_folder_is_worth_nothing(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "content").write_bytes(left)

    received(Several((Member("a", Scripted(FILE)),)), tmp_path / "content", part=len(left))

    assert files_in(tmp_path / "content") == {"a": FILE}


class Dead:
    """A source that nobody reaches."""

    def open(self, offset: int) -> Stream:
        raise SourceUnreachable(f"nothing from {offset} on")


def test_a_part_that_is_the_whole_needs_no_source(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(FILE)

    came = received(Dead(), tmp_path / "content", part=len(FILE), promised=sha256(FILE))

    assert (came.digest, came.size, came.listing) == (sha256(FILE), len(FILE), listing.of(tmp_path / "content"))


def test_a_whole_part_is_held_to_the_size_that_is_declared_now(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(FILE)

    fails(Dead(), tmp_path / "content", TooLarge, part=len(FILE), promised=sha256(FILE), limit=len(FILE) - 1)


def test_only_the_rest_needs_room(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(FILE[:6000])
    room = Counted()

    received(Scripted(FILE), tmp_path / "content", part=6000, room=room)

    assert room.required == [len(FILE) - 6000]
    assert room.spent == len(FILE) - 6000


def test_a_file_that_finds_no_room_leaves_a_part_to_go_on_with(tmp_path: Path) -> None:
    content = tmp_path / "content"
    fails(Scripted(FILE, announced=False), content, DiskFull, room=Counted(free=5000))

    part = content.stat().st_size
    assert HEAD <= part <= 5000
    assert received(Scripted(FILE), content, part=part).digest == sha256(FILE)


def test_nothing_is_written_where_there_is_no_room_for_all(tmp_path: Path) -> None:
    fails(Scripted(FILE), tmp_path / "content", DiskFull, room=Counted(free=len(FILE) - 1))

    assert list(tmp_path.iterdir()) == []


def test_the_size_bounds_all_members_together(tmp_path: Path) -> None:
    halves = tuple(Member(name, Scripted(FILE), len(FILE)) for name in ("a", "b"))

    said = fails(Several(halves), tmp_path / "content", TooLarge, limit=2 * len(FILE) - 1)

    assert said == f"models/plate has more than the {2 * len(FILE) - 1} bytes that its size declares (at least 20080)"
    assert list(tmp_path.iterdir()) == []


def test_the_size_bounds_members_that_said_nothing_of_theirs(tmp_path: Path) -> None:
    halves = tuple(Member(name, Scripted(FILE, announced=False)) for name in ("a", "b"))

    fails(Several(halves), tmp_path / "content", TooLarge, limit=2 * len(FILE) - 1)


def test_a_collection_that_cannot_be_listed_at_first_is_asked_again(tmp_path: Path) -> None:
    waits: list[float] = []

    came = received(Several((Member("m", Scripted(FILE)),), refusals=2), tmp_path / "content", waits=waits)

    assert came.listing.entries[0].sha256 == sha256(FILE)
    assert waits == [0.5, 1.0]


def test_a_collection_that_cannot_be_listed_at_all_fails_within_seconds(tmp_path: Path) -> None:
    waits: list[float] = []

    fails(Several((), refusals=99), tmp_path / "content", SourceUnreachable, waits=waits)

    assert sum(waits) < 20


def test_layers_become_one_folder(tmp_path: Path) -> None:
    layer = COMPRESSED["tar.zst"](tar({"1/weights": FILE}))
    members = (
        Member("", Scripted(layer), len(layer), sha256(layer), unpack=True),
        Member("1/model.onnx", Scripted(FILE), len(FILE), sha256(FILE)),
    )

    came = received(Several(members, verified=True), tmp_path / "content", promised="a" * 64)

    assert files_in(tmp_path / "content") == {"1/weights": FILE, "1/model.onnx": FILE}
    assert (came.digest, came.size) == ("a" * 64, len(layer) + len(FILE))
    assert came.listing == listing.of(tmp_path / "content")


@pytest.mark.parametrize("unpack", [False, True])
@pytest.mark.parametrize("body", [FILE, gzip.compress(b"no tar"), tar({"../x": b""}), tar(FILES)[:-2000]])
def test_a_member_that_is_not_what_the_manifest_says_is_a_mismatch_whatever_else_it_is(
    tmp_path: Path, body: bytes, unpack: bool
) -> None:
    member = Member("" if unpack else "m", Scripted(body), len(body), "b" * 64, unpack)

    said = fails(Several((member,), verified=True), tmp_path / "content", DigestMismatch)

    assert sha256(body) in said
    assert "b" * 64 in said


def test_a_member_joined_from_several_answers_is_begun_anew_before_it_is_blamed(tmp_path: Path) -> None:
    member = Member("m", Scripted(FILE, [2000]), len(FILE), "b" * 64)

    with pytest.raises(SourceChanged):
        received(Several((member,), verified=True), tmp_path / "content")


@pytest.mark.parametrize("names", [("m",), ("m", "other")])
def test_a_member_that_is_joined_each_time_is_blamed_at_last(tmp_path: Path, names: tuple[str, ...]) -> None:
    members = tuple(Member(name, Scripted(FILE, [2000]), len(FILE), "b" * 64) for name in names)

    said = fails(Several(members, verified=True), tmp_path / "content", DigestMismatch, last=True)

    assert said.startswith("models/plate: 'm' is not what the manifest promises")


UNFIT: dict[str, tuple[tuple[str, ...], type[FetchError], str]] = {
    "nothing": ((), UnsupportedSource, "models/plate holds no file"),
    "absolute": (("/etc/passwd",), UnsupportedSource, "'/etc/passwd' cannot be the name"),
    "parent": (("a/../../x",), UnsupportedSource, "cannot be the name"),
    "empty part": (("a//x",), UnsupportedSource, "cannot be the name"),
    "line break": (("a\nb",), UnsupportedSource, "control characters"),
    "backslash": (("a\\b",), UnsupportedSource, "backslashes"),
    "too many": (tuple(map(str, range(10_001))), UnsupportedSource, "more than 10000 files; pack them"),
    "twice": (("a", "a"), ArchiveUnsafe, "holds 'a' twice"),
    "a file in a file": (("a", "a/b"), ArchiveUnsafe, "leads through a file"),
    "long": (("a" * 256,), ArchiveUnsafe, "too long"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_names_of_members_that_make_no_folder_are_refused(tmp_path: Path, case: str) -> None:
    names, reason, words = UNFIT[case]

    assert words in fails(Several(tuple(Member(name, Scripted(b"")) for name in names)), tmp_path / "content", reason)
    assert {path.name for path in tmp_path.iterdir()} <= {"content"}


@pytest.mark.parametrize("kind", sorted(COMPRESSED))
def test_of_damaged_bytes_the_digest_has_the_first_word(tmp_path: Path, kind: str) -> None:
    body = bytearray(COMPRESSED[kind](tar(FILES)))
    body[len(body) // 2] ^= 1
    source = Scripted(bytes(body))

    came = received(source, tmp_path / "content", promised="c" * 64)

    assert (came.digest, came.size) == (sha256(bytes(body)), len(body))


@pytest.mark.parametrize(
    ("body", "reason"), [(tar({"../x": b""}), ArchiveUnsafe), (gzip.compress(b"no tar" * 999), LayoutInvalid)]
)
def test_of_promised_bytes_the_archive_has_the_word(tmp_path: Path, body: bytes, reason: type[FetchError]) -> None:
    fails(Scripted(body), tmp_path / "content", reason, promised=sha256(body))


def test_a_listing_has_links_and_second_names(tmp_path: Path) -> None:
    body = tar(
        {
            "1/lib.so.1": FILE,
            "1/lib.so": special(tarfile.SYMTYPE, "lib.so.1"),
            "1/copy": special(tarfile.LNKTYPE, "1/lib.so.1"),
            "2": special(tarfile.DIRTYPE),
        }
    )

    came = received(Scripted(body), tmp_path / "content")

    assert came.listing == listing.of(tmp_path / "content")
    assert [entry.path for entry in came.listing.entries] == ["1/copy", "1/lib.so", "1/lib.so.1"]


def test_the_validator_of_what_came_is_kept(tmp_path: Path) -> None:
    assert received(Scripted(FILE), tmp_path / "content").validator == '"1"'


def test_a_version_of_a_collection_is_told_from_another(tmp_path: Path) -> None:
    def version(*members: Member) -> str | None:
        return received(Several(members), tmp_path / str(len(list(tmp_path.iterdir())))).validator

    first = version(Member("a", Scripted(FILE), validator="1"), Member("b", Scripted(FILE), validator="1"))

    assert first == version(Member("a", Scripted(FILE), validator="1"), Member("b", Scripted(FILE), validator="1"))
    assert first != version(Member("a", Scripted(FILE), validator="1"), Member("b", Scripted(FILE), validator="2"))
    assert version(Member("a", Scripted(FILE), validator="1"), Member("b", Scripted(FILE))) is None


@pytest.mark.parametrize("archive", [False, True])
def test_a_large_artifact_passes_through_one_chunk_at_a_time(tmp_path: Path, archive: bool) -> None:
    body = os.urandom(3 * CHUNK + 17)
    packed = io.BytesIO(tar({"1/m": body}) if archive else body).getvalue()

    received(Scripted(packed, piece=CHUNK), tmp_path / "content")

    assert (tmp_path / "content" / "1" / "m" if archive else tmp_path / "content").read_bytes() == body
