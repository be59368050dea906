"""An artifact of many layers: as many as a registry's users make, within the memory of the fetch container."""

import contextlib
import random
from pathlib import Path
from typing import Final

import pytest
from tests.delivery.conftest import Servers
from tests.delivery.node import Node
from tests.delivery.packages import Packages, raw

pytestmark = pytest.mark.contract

MOST: Final = 64 << 10
"""KiB; the container has 128 MiB, and the page cache is charged to it, too."""
MEASURED: Final = """
import re, sys
from littoral.modelstore.fetch import main
status = main()
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)
raise SystemExit(status)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_a_hundred_layers_take_no_more_memory_than_one(node: Node, servers: Servers) -> None:
    noise = random.Random(7)  # noqa: S311 - nothing secret: bytes that differ
    files = {f"1/parts/{number:03}.bin": noise.randbytes(1_000) for number in range(120)}
    with contextlib.closing(Packages(servers.private_registry, servers.authority.certificate)) as packages:
        published = packages.push("layers", [raw(path, data) for path, data in files.items()], files)

    with node.container(node.request(published), ("-c", MEASURED)) as container:
        _, said = container.communicate(timeout=60)

    assert container.returncode == 0, node.report().message
    assert node.serves(published)
    assert int(said.splitlines()[-1]) < MOST
