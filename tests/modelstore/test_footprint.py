"""What the fetch container costs, measured in processes of its own."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.modelstore.conftest import Namespace, make_namespace, onnx

from littoral.modelstore.digest import digest_of
from littoral.modelstore.sources.file import LocalFile

SIZE = 256 << 20
PEAK = 64 << 20
"""Most bytes of memory that a fetch may take, whatever the artifact's size."""

SERVER = """
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
FETCH = """
import re, sys
from littoral.modelstore.fetch import main
status = main()
peak = re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())
print(int(peak[1]) << 10)
sys.exit(status)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which another process serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    command = [sys.executable, "-c", SERVER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield folder, f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


def write_large(path: Path, *, archive: bool) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        if archive:
            info = tarfile.TarInfo("1/model.onnx")
            info.size = SIZE
            file.write(info.tobuf())
        for _ in range(SIZE >> 20):
            file.write(block)
        if archive:
            file.write(bytes(2 * tarfile.BLOCKSIZE))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("archive", [False, True], ids=["file", "archive"])
def test_memory_is_bounded_whatever_the_size(tmp_path: Path, served: tuple[Path, str], archive: bool) -> None:
    folder, address = served
    write_large(folder / "m", archive=archive)
    read = digest_of(LocalFile(folder / "m"), "m")
    digest, size = read.sha256, read.size
    namespace = make_namespace(tmp_path)
    request = namespace.request(onnx(f"{address}/m", b"", sha256=digest, size=size))
    environ = {"LITTORAL_FETCH": request.dump(), "LITTORAL_TERMINATION_LOG": str(tmp_path / "log")}

    run = subprocess.run(
        [sys.executable, "-c", FETCH], env=os.environ | environ, capture_output=True, text=True, check=True, timeout=120
    )

    [model] = json.loads((tmp_path / "log").read_text())["models"]
    seconds, peak = model["seconds"], int(run.stdout)
    print(f"{size >> 20} MiB in {seconds} s, {size / seconds / 1e6:.0f} MB/s, peak {peak >> 20} MiB")
    assert model["source"] == "fetched"
    assert (namespace.repository / "plate" / "1" / "model.onnx").stat().st_size == SIZE
    assert peak < PEAK


def test_a_warm_start_loads_nothing_it_does_not_need(namespace: Namespace, tmp_path: Path) -> None:
    namespace.import_file("m", b"weights")
    model = onnx("file:///import/m", b"weights")
    assert namespace.fetch(model).ok
    environ = {
        "LITTORAL_FETCH": namespace.request(model).dump(),
        "LITTORAL_TERMINATION_LOG": str(tmp_path / "log"),
        "LITTORAL_SLICE": "plate-x",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    # -S: what .pth files of the test's environment import is not ours.
    code = "import sys; from littoral.modelstore.fetch import main; main(); print(*sys.modules)"

    run = subprocess.run(
        [sys.executable, "-S", "-c", code], env=os.environ | environ, capture_output=True, text=True, check=True
    )

    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert loaded - sys.stdlib_module_names == {"littoral", "__main__"}
    assert not loaded & {"ssl", "asyncio", "tarfile"}
    assert json.loads((tmp_path / "log").read_text())["models"][0]["source"] == "cache"
