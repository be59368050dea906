"""kill -9 at whatever moment, and disks that take no write: real processes and the kernel's own answers."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.modelstore.conftest import Namespace, Origin, Resource, onnx, sha256, tar

from littoral.modelstore.report import Report, parse_report
from littoral.modelstore.request import ENV_REQUEST, ENV_SLICE, ENV_TERMINATION_LOG, ModelRequest
from rig.waiting import until

KILLS = {"file": 24, "archive": 12}
FILE = random.Random(5).randbytes(4 << 20)  # noqa: S311 - no secret
FILES = {"1/model.onnx": FILE, "1/labels.txt": FILE[:1000], "config.pbtxt": b'name: "plate"\n'}
BODIES = {"file": FILE, "archive": tar(FILES)}
FETCH = [sys.executable, "-m", "littoral.modelstore.fetch"]


def environ(namespace: Namespace, model: ModelRequest, slice_name: str = "plate-x") -> dict[str, str]:
    return os.environ | {
        ENV_REQUEST: namespace.request(model).dump(),
        ENV_TERMINATION_LOG: str(log(namespace)),
        ENV_SLICE: slice_name,
    }


def log(namespace: Namespace) -> Path:
    return namespace.cache.parent / "termination-log"


def report(namespace: Namespace) -> Report:
    read = parse_report(log(namespace).read_text())
    assert read is not None
    return read


def run(namespace: Namespace, model: ModelRequest) -> int:
    """Run the fetch container to its end; return its exit status."""
    command = subprocess.run(FETCH, env=environ(namespace, model), stderr=subprocess.DEVNULL, check=False, timeout=120)
    return command.returncode


def run_and_kill(namespace: Namespace, model: ModelRequest, due: Callable[[], bool]) -> int:
    """Run the fetch container and kill it when it is `due`; return its exit status, -9 when killed."""
    with subprocess.Popen(FETCH, env=environ(namespace, model), stderr=subprocess.DEVNULL) as process:
        until(
            lambda: process.poll() is not None or due(),
            timeout=120,
            interval=0.002,
            failure=lambda: AssertionError("neither done nor due"),
        )
        process.kill()
        return process.wait()


def assert_nothing_but_what_was_promised(namespace: Namespace, body: bytes) -> None:
    for content in (namespace.cache / "sha256").glob("*/content"):
        assert_whole(content, body)
    for model in namespace.repository.glob("[!.]*"):
        assert_whole(model / "1" / "model.onnx" if body is FILE else model, body)
    for part in (namespace.cache / "tmp").glob("*/content"):
        assert part.is_dir() or body.startswith(part.read_bytes()), "a part is a beginning"


def assert_whole(content: Path, body: bytes) -> None:
    if body is FILE:
        assert content.read_bytes() == FILE
    else:
        assert {name: (content / name).read_bytes() for name in FILES} == FILES


@pytest.mark.parametrize("kind", BODIES)
def test_killed_at_many_moments_and_then_there(namespace: Namespace, origin: Origin, kind: str) -> None:
    """From before the first byte until after the last, where the process is busy with what makes an entry of it."""
    body = BODIES[kind]
    model = onnx(origin.put("/m", Resource(body, pace=0.002)), body)
    moments = random.Random(kind)  # noqa: S311 - no secret
    killed, parts, number = 0, 0, 0
    while killed < KILLS[kind]:
        if namespace.entries():
            # It got there before it could be killed, or what was left helped it to: from nothing once more.
            number += 1
            namespace = Namespace(namespace.cache.parent / f"cache-{number}", namespace.repository)
            namespace.cache.mkdir()
        origin.position = 0
        place, late = moments.uniform(0, 1.2) * len(body), moments.uniform(0, 0.05)

        def due(place: float = place, late: float = late) -> bool:
            if origin.position < min(place, len(body)):
                return False
            time.sleep(late if place > len(body) else 0)
            return True

        killed += run_and_kill(namespace, model, due) == -9
        parts += bool(list((namespace.cache / "tmp").glob("*/content")))
        assert_nothing_but_what_was_promised(namespace, body)

    assert run(namespace, model) == 0

    assert parts, "no kill was where it matters"
    assert report(namespace).ok
    assert namespace.entries() == [sha256(body)]
    assert namespace.staged() == []
    assert_nothing_but_what_was_promised(namespace, body)


def test_a_part_is_worth_its_bytes_to_the_next_process(namespace: Namespace, origin: Origin) -> None:
    model = onnx(origin.put("/m", Resource(FILE, pace=0.01)), FILE)
    part = namespace.cache / "tmp" / model.sha256 / "content"
    assert run_and_kill(namespace, model, lambda: part.exists() and part.stat().st_size > 0) == -9
    here = part.stat().st_size

    assert run(namespace, model) == 0

    assert origin.seen[-1] == ("/m", f"bytes={here}-")
    assert report(namespace).ok


def mounts_work() -> bool:
    return sys.platform == "linux" and subprocess.run(["unshare", "-rm", "true"], check=False).returncode == 0


disks = pytest.mark.skipif(not mounts_work(), reason="needs mounts in a namespace of its own: Linux, unshare -rm")

READ_ONLY = 'mount --bind "$CACHE" "$CACHE" && mount -o remount,bind,ro "$CACHE" && ! touch "$CACHE/x" 2>/dev/null && '
FULL = """
mount -t tmpfs -o size=96m tmpfs "$CACHE" && mkdir "$CACHE/import" && cp "$BODY" "$CACHE/import/m" && {fetch} &&
if [ "$BOOT" ]; then sed -i "s/$(cat /proc/sys/kernel/random/boot_id)/$BOOT/" "$CACHE"/sha256/*/verified.json; fi &&
rm "$CACHE/import/m"; dd if=/dev/zero of="$CACHE/fill" bs=1M 2>/dev/null; ! echo x 2>/dev/null > "$CACHE/x" &&
"""
STARTS = {
    # what serves: (slice, another boot)
    "the slice that fetched it": ("plate-x", False),
    "another slice, which has no pin yet": ("other-x", False),
    "after a boot, proved and not marked": ("plate-x", True),
}


@disks
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("disk", ["read-only", "full"])
def test_a_warm_start_works_on_a_disk_that_takes_no_write(
    namespace: Namespace, tmp_path: Path, disk: str, start: str
) -> None:
    slice_name, rebooted = STARTS[start]
    namespace.import_file("m", FILE)
    model = onnx("file:///import/m", FILE)
    fetch = " ".join(FETCH)
    if disk == "read-only":
        assert run(namespace, model) == 0
        (namespace.cache / "import" / "m").unlink()
        if rebooted:
            marker = namespace.cache / "sha256" / model.sha256 / "verified.json"
            marker.write_text(json.dumps(json.loads(marker.read_text()) | {"boot": "another"}))
        script = READ_ONLY
    else:
        (tmp_path / "body").write_bytes(FILE)
        script = FULL.format(fetch=f"LITTORAL_SLICE=plate-x {fetch}")
    variables = {"CACHE": str(namespace.cache), "BODY": str(tmp_path / "body"), "BOOT": "another" if rebooted else ""}

    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{script} exec {fetch}"],
        env=environ(namespace, model, slice_name) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert report(namespace).models[0].source == "cache"
    # On a full disk there is ballast to be given up for it.
    assert ("cannot be pinned" in done.stderr) == (slice_name == "other-x" and disk == "read-only")
    assert ("compared with its listing" in done.stderr) == rebooted
