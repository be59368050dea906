"""file:///import/DIR/: a folder that somebody carried to the node."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.modelstore.receiving import FILES, fails, files_in, received

from littoral.modelstore import listing
from littoral.modelstore.errors import FetchError, SourceUnreachable, UnsupportedSource
from littoral.modelstore.sources import Collection, source_for, version_of


@pytest.fixture
def imports(tmp_path: Path) -> Path:
    folder = tmp_path / "import" / "plate 7"
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (tmp_path / "secret").write_text("not for the model")
    return tmp_path / "import"


def test_a_folder_is_taken_with_all_that_is_below_it(imports: Path, tmp_path: Path) -> None:
    came = received(source_for("file:///import/plate%207/", imports), tmp_path / "content")

    assert files_in(tmp_path / "content") == FILES
    assert came.digest == listing.of(imports / "plate 7").digest()


def test_a_folder_carried_anew_is_another_version_though_its_sizes_are_the_same(imports: Path) -> None:
    origin = source_for("file:///import/plate%207/", imports)
    assert isinstance(origin, Collection)
    before = version_of(origin.members())
    assert version_of(origin.members()) == before

    config = imports / "plate 7" / "config.pbtxt"
    (imports / "new").write_bytes(config.read_bytes())
    (imports / "new").replace(config)

    assert before is not None
    assert version_of(origin.members()) != before


def test_the_whole_of_import_is_no_model(imports: Path) -> None:
    with pytest.raises(UnsupportedSource, match="a file source is file:///import/PATH"):
        source_for("file:///import/", imports)


def swap(folder: Path, target: str) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    folder.symlink_to(target)


def be_a_file(folder: Path) -> None:
    folder.rename(folder.parent / "x")
    folder.touch()


def deep(folder: Path) -> None:
    (folder / "/".join(["d"] * 70)).mkdir(parents=True)


UNFIT: dict[str, tuple[Callable[[Path], object], type[FetchError], str]] = {
    "gone": (lambda folder: folder.rename(folder.parent / "x"), SourceUnreachable, "put the folder at /var/lib/"),
    "a link": (lambda folder: swap(folder, ".."), UnsupportedSource, "leads through a symbolic link"),
    "a link in it": (
        lambda folder: (folder / "m").symlink_to("../../secret"),
        UnsupportedSource,
        "plate 7/m is neither a file nor a folder; put the file itself there",
    ),
    "a link to a folder in it": (
        lambda folder: (folder / "d").symlink_to("/etc"),
        UnsupportedSource,
        "plate 7/d is neither a file nor a folder",
    ),
    "a pipe in it": (lambda folder: os.mkfifo(folder / "1" / "p"), UnsupportedSource, "plate 7/1/p is neither a file"),
    "a file": (be_a_file, UnsupportedSource, "through what is no folder"),
    "deep": (deep, UnsupportedSource, "more than 64 folders one below the other"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_no_folder_of_files_is_refused_in_words(imports: Path, tmp_path: Path, case: str) -> None:
    change, reason, words = UNFIT[case]
    change(imports / "plate 7")

    assert words in fails(source_for("file:///import/plate%207/", imports), tmp_path / "content", reason)
    assert not (tmp_path / "content").exists()


def test_a_link_that_comes_between_listing_and_reading_leads_nowhere(imports: Path) -> None:
    [member, *_] = [
        member
        for member in source_for("file:///import/plate%207/", imports).members()  # type: ignore[union-attr]  # a folder
        if member.path == "1/weights/a"
    ]
    weights = imports / "plate 7" / "1" / "weights"
    (weights / "a").unlink()
    weights.rmdir()
    weights.symlink_to("/etc")

    with pytest.raises(UnsupportedSource, match="leads through a symbolic link"):
        member.source.open(0)
