"""`littoral prefetch` with something wrong in what it is given: one clear line, before a cluster is asked."""

from pathlib import Path

from tests.cli.manifests import run


def test_what_is_no_model_is_said_first(tmp_path: Path) -> None:
    result = run("prefetch", "plate", f"--kubeconfig={tmp_path / 'absent'}")
    assert (result.exit_code, "'plate' is no model: write im/NAME" in result.stderr) == (2, True)


def test_a_file_that_is_not_there_is_said_first(tmp_path: Path) -> None:
    result = run("prefetch", "-f", tmp_path / "absent.yaml", f"--kubeconfig={tmp_path / 'absent'}")
    assert (result.exit_code, result.stderr) == (2, f"{tmp_path}/absent.yaml: there is no such file or folder\n")


def test_a_kubeconfig_that_is_missing_or_empty_is_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    for path, why in ((tmp_path / "absent", "there is no such file"), (empty, "it is no kubeconfig")):
        result = run("prefetch", "im/plate", f"--kubeconfig={path}")
        assert (result.exit_code, result.stderr) == (2, f"cannot log in with {path}: {why}\n")


def test_without_anything_it_says_what_it_wants() -> None:
    result = run("prefetch")
    assert (result.exit_code, "name a model as im/NAME, or a file with -f" in result.stderr) == (2, True)
