"""Listings: what they say of a folder, and what they find out about one."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.modelstore.conftest import sha256

from littoral.modelstore import listing
from littoral.modelstore.listing import Entry, Listing

# What a file may be called where sha256sum writes its name as it is.
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=12
).filter(lambda name: name not in {".", ".."})
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FOLDERS = st.dictionaries(PATHS, st.binary(max_size=64), min_size=1, max_size=8)
AS_DOCUMENTED = r"find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum -- | sha256sum"


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def can_be_written(files: Mapping[str, bytes]) -> bool:
    """No path leads through a file, and none is what sha256sum takes for its standard input."""
    return "-" not in files and not any(other.startswith(f"{path}/") for path in files for other in files)


@settings(deadline=None, max_examples=30)
@example({"-0": b"x", "a b": b"", "a/b": b"", "a.b": b"", "B": b""})
@given(FOLDERS.filter(can_be_written))
def test_the_digest_of_a_folder_is_what_sha256sum_prints(files: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as path:
        folder = write(Path(path), files)
        printed = subprocess.run(["sh", "-c", AS_DOCUMENTED], cwd=folder, capture_output=True, text=True, check=True)

        found = listing.of(folder)

    assert found.digest() == printed.stdout.split()[0]
    assert found.size() == sum(map(len, files.values()))
    assert listing.parse(found.text()) == found


def test_a_file_is_listed_without_a_name(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"weights")

    assert listing.of(tmp_path / "m") == Listing((Entry("", 7, sha256(b"weights")),))
    assert listing.of(tmp_path / "m").difference(tmp_path / "m") is None


def test_links_are_listed_and_no_part_of_the_digest(tmp_path: Path) -> None:
    before = listing.of(write(tmp_path, {"1/lib.so.1": b"code"}))
    (tmp_path / "1" / "lib.so").symlink_to("lib.so.1")
    (tmp_path / "2").symlink_to("1")

    after = listing.of(tmp_path)

    assert [(entry.path, entry.link) for entry in after.entries if entry.link] == [("1/lib.so", "lib.so.1"), ("2", "1")]
    assert after.digest() == before.digest()
    assert listing.parse(after.text()) == after


def test_names_that_are_no_text_survive_being_kept(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"m\xff")).write_bytes(b"weights")

    found = listing.of(tmp_path)

    assert listing.parse(found.text()) == found
    assert found.text().isascii()


def test_what_is_no_file_has_no_listing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ValueError, match="pipe is neither a file"):
        listing.of(tmp_path)


def relink(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("b")


def replace_by_link(folder: Path) -> None:
    (folder / "a").unlink()
    (folder / "a").symlink_to("b/c")


DIFFERENCES: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda folder: (folder / "b" / "c").unlink(), "b/c is missing"),
    "come": (lambda folder: (folder / "b" / "d").touch(), "b/d is not in the listing"),
    "a link come": (lambda folder: (folder / "d").symlink_to("/etc"), "d is not in the listing"),
    "longer": (lambda folder: (folder / "a").write_bytes(b"weights!"), "a has another kind or size"),
    "one bit": (lambda folder: (folder / "a").write_bytes(b"weighus"), f"a has sha256 {sha256(b'weighus')}, the"),
    "a link instead": (replace_by_link, "a has another kind or size"),
    "another target": (relink, "link has another kind or size"),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_the_first_difference_is_named(tmp_path: Path, case: str) -> None:
    change, words = DIFFERENCES[case]
    folder = write(tmp_path / "content", {"a": b"weights", "b/c": b"labels"})
    (folder / "link").symlink_to("a")
    kept = listing.of(folder)
    assert kept.difference(folder) is None

    change(folder)

    found = kept.difference(folder)
    assert found is not None
    assert found.startswith(words)


@pytest.mark.parametrize("files", [{"a": b"weights"}, {}])
def test_content_that_is_gone_differs(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    kept = Listing((Entry("", 7, sha256(b"weights")),)) if not files else listing.of(write(tmp_path / "is", files))

    assert str(kept.difference(tmp_path / "content")).endswith("is missing")


@pytest.mark.parametrize("text", ['["a", -1, "", ""]', '["a", 1]', "{}", "x", '["a", "1", "", ""]'])
def test_what_is_no_listing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no entry of a listing|Expecting value"):
        listing.parse(text)
