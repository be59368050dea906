"""The removal of a gone namespace's cache: exactly that folder, whatever lies in it and whoever writes to it."""

import os
from pathlib import Path

import pytest

from littoral.modelstore import clean
from littoral.modelstore.clean import GONE, REFUSED, REMAINS, main, remove

UID = "6c1cbe8e-7f4e-4c53-8f4b-7a5c8c6c5d11"
OTHER = "6c1cbe8e-7f4e-4c53-8f4b-7a5c8c6c5d12"


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two namespaces' caches, one of them with links to what is not its own."""
    folder = tmp_path / "namespaces"
    for uid in (UID, OTHER):
        entry = folder / uid / "sha256" / ("a" * 64) / "content"
        entry.mkdir(parents=True)
        (entry / "model.onnx").write_bytes(b"model")
    (folder / UID / "file").symlink_to(folder / OTHER / "sha256" / ("a" * 64) / "content" / "model.onnx")
    (folder / UID / "folder").symlink_to(folder / OTHER)
    (folder / UID / "loop").symlink_to("loop")
    monkeypatch.setattr(clean, "CACHE_ROOTS", str(folder))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_removes_one_namespaces_folder_and_follows_no_link(roots: Path) -> None:
    others = names(roots / OTHER)

    assert main([UID]) == GONE

    assert [path.name for path in roots.iterdir()] == [OTHER]
    assert names(roots / OTHER) == others


def test_what_is_gone_already_is_gone(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [main([UID]), main([UID])] == [GONE, GONE]
    assert capsys.readouterr().err.splitlines() == [f"the model cache of namespace {UID} is gone"] * 2


@pytest.mark.parametrize(
    "argument",
    ["", ".", "..", "/", "*", "sha256", f"../namespaces/{OTHER}", f"{UID}/..", f"{UID}/sha256", f"/{UID}", UID.upper(),
     f"{UID}\n", UID[:-1], f"{UID}0"],
)  # fmt: skip
def test_nothing_but_a_uid_names_anything(roots: Path, argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(roots)

    assert main([argument]) == REFUSED

    assert names(roots) == before
    assert capsys.readouterr().err == f"nothing is removed: {argument!r} is not the UID of a namespace\n"


@pytest.mark.parametrize("arguments", [[], [UID, OTHER]])
def test_takes_one_argument(roots: Path, arguments: list[str]) -> None:
    before = names(roots)
    assert main(arguments) == REFUSED
    assert names(roots) == before


def test_a_link_in_the_folders_place_goes_and_not_what_it_leads_to(roots: Path) -> None:
    remove(roots, UID)
    (roots / UID).symlink_to(OTHER)
    before = names(roots / OTHER)

    assert remove(roots, UID) == []

    assert [path.name for path in roots.iterdir()] == [OTHER]
    assert names(roots / OTHER) == before


def test_a_fetch_that_still_writes_does_not_keep_it_alive(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (roots / UID / "tmp").mkdir()
    held = os.open(roots / UID / "tmp", os.O_RDONLY | os.O_DIRECTORY)  # as a container's mount holds the folder
    rmdir, late = os.rmdir, iter(["part-1", "part-2"])

    def write_first(path: str, *, dir_fd: int | None = None) -> None:
        if path == "tmp" and (name := next(late, None)):
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=held))
        rmdir(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", write_first)

    assert remove(roots, UID) == []

    assert not (roots / UID).exists()
    with pytest.raises(FileNotFoundError):
        os.open("part-3", os.O_WRONLY | os.O_CREAT, dir_fd=held)
    os.close(held)


def test_what_cannot_be_removed_is_told_once_it_is_known_and_never_at_length(
    roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = roots / UID / "import"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.onnx").touch()
    unlink = os.unlink

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        if path.endswith(".onnx") and path != "model.onnx":
            raise PermissionError(1, "Operation not permitted", path)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)

    assert main([UID]) == REMAINS

    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"cannot be removed: {folder}/")
    assert told[0].endswith(".onnx: Operation not permitted")
    assert len(told) == 6
    assert told[-1] == "and 36 more"
    assert (roots / UID / "sha256").exists() is False


def deepen(folder: Path, levels: int) -> None:
    """Make folders in each other; their path is longer than any that the kernel takes."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


def test_folders_may_lie_in_each_other_as_deeply_as_they_like(roots: Path) -> None:
    deepen(roots / UID / "sha256", 3000)

    assert remove(roots, UID) == []

    assert [path.name for path in roots.iterdir()] == [OTHER]


def test_what_is_moved_away_meanwhile_leads_nowhere(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way up from a folder that was moved leads to its new place, where nothing is to be removed."""
    aside = roots.parent / "aside"
    aside.mkdir()
    (roots / UID / "tmp").mkdir()
    for folder in (aside, roots / UID / "tmp"):
        (folder / "a-file-of-this-name").touch()  # looked at after "deeper", which names in order end with
    names_in = clean._names  # the order of a folder is the file system's
    monkeypatch.setattr(clean, "_names", lambda folder: sorted(names_in(folder)))
    deepen(roots / UID / "tmp", 2)
    unlink, moved = os.unlink, iter([True])

    def move_first(path: str, *, dir_fd: int | None = None) -> None:
        if path == "file" and (roots / UID / "tmp").exists() and next(moved, False):
            (roots / UID / "tmp" / "deeper").rename(aside / "deeper")
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", move_first)

    assert remove(roots, UID) == []

    assert not (roots / UID).exists()
    assert (aside / "a-file-of-this-name").exists()
