import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import download
from rig.errors import RigError
from rig.progress import silent

PROGRAM = b"\x7fELF a program"


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A release server on loopback; returns the folder of its programs for this machine."""
    root = tmp_path / "server"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("LITTORAL_DOWNLOAD_URL", base)
        folder = root / download.url("", "v1").removeprefix(f"{base}/")
        folder.mkdir(parents=True)
        yield folder
        server.shutdown()


def test_a_program_that_matches_its_checksum_is_ready_to_run(release: Path, tmp_path: Path) -> None:
    (release / "kubelet").write_bytes(PROGRAM)
    (release / "kubelet.sha256").write_text(hashlib.sha256(PROGRAM).hexdigest(), encoding="ascii")
    output = tmp_path / "bin" / "kubelet"
    assert download.fetch("kubelet", "v1", output, silent)
    assert output.read_bytes() == PROGRAM
    assert output.stat().st_mode & 0o111


def test_a_program_that_does_not_match_is_refused_and_not_kept(release: Path, tmp_path: Path) -> None:
    (release / "kubelet").write_bytes(b"something else")
    (release / "kubelet.sha256").write_text(hashlib.sha256(PROGRAM).hexdigest(), encoding="ascii")
    with pytest.raises(RigError, match="digest"):
        download.fetch("kubelet", "v1", tmp_path / "bin" / "kubelet", silent)
    assert list((tmp_path / "bin").iterdir()) == []


def test_a_server_that_has_it_not_leaves_it_to_be_built(release: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert release.is_dir()
    assert not download.fetch("kubelet", "v1", tmp_path / "bin" / "kubelet", said.append)
    assert "building kubelet instead" in said[-1]


@pytest.mark.parametrize(
    ("env", "expected"), [({}, False), ({"LITTORAL_DOWNLOAD": "0"}, False), ({"LITTORAL_DOWNLOAD": "1"}, True)]
)
def test_nothing_is_downloaded_unless_asked_for(env: dict[str, str], expected: bool) -> None:
    assert download.wanted(env) is expected
