from pathlib import Path

from rig import mountpoints


def test_a_folder_that_was_there_before_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "kubelet"
    folder.mkdir()
    mountpoints.claim("a", [folder])
    assert list(folder.iterdir()) == []
    assert mountpoints.release("a", [folder]) == []
    assert folder.is_dir()


def test_a_folder_goes_with_the_last_cluster_that_needed_it(tmp_path: Path) -> None:
    folder = tmp_path / "lib" / "kubelet"
    mountpoints.claim("a", [folder])
    mountpoints.claim("b", [folder])
    assert mountpoints.release("a", [folder]) == []
    assert folder.is_dir()
    assert mountpoints.release("b", [folder]) == [f"folder {folder}"]
    assert not folder.exists()
    assert mountpoints.release("b", [folder]) == []


def test_what_somebody_put_there_since_stays(tmp_path: Path) -> None:
    folder = tmp_path / "kubelet"
    mountpoints.claim("a", [folder])
    (folder / "theirs").touch()
    assert mountpoints.release("a", [folder]) == []
    assert (folder / "theirs").exists()
