"""One namespace on one node: the fetch container's mounts as folders, its run in this process or in one of its own."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.delivery.artifacts import CONFIG, NAME

from littoral.modelstore.fetch import Mounts, fetch_all
from littoral.modelstore.report import Report, parse_report
from littoral.modelstore.request import FetchRequest, ModelRequest
from littoral.modelstore.transfer import Patience


@dataclass(frozen=True, repr=False)
class Published:
    """An artifact at its origin, as a model's source describes it.

    `upstream` is the server (HOST:PORT), "" for media carried by hand; `uri` and `settings` tell, of the address at
    which the node reaches that server, what the spec and the ConfigMap say; `files` is what Triton's folder of the
    model must hold in the end.
    """

    upstream: str
    uri: Callable[[str], str]
    sha256: str
    size: int
    files: Mapping[str, bytes]
    settings: Callable[[str], Mapping[str, str]] = lambda _: {}
    secret: Mapping[str, str] = field(default_factory=dict)
    imported: Mapping[str, bytes] = field(default_factory=dict)
    format: str = ""


class Node:
    """What the fetch container finds mounted, below `root`."""

    def __init__(self, root: Path) -> None:
        self.cache, self.repository = root / "cache", root / "models"
        self.mounts = root / "mounts"
        self.secrets, self.settings = self.mounts / "secrets", self.mounts / "settings"
        self.termination_log = root / "termination-log"
        for folder in (self.cache, self.repository, self.mounts, self.secrets, self.settings):
            folder.mkdir()

    def request(self, published: Published, address: str | None = None, **changes: Any) -> FetchRequest:
        """The request for `published`, reached at `address` (default: where it is), its mounts made."""
        address = published.upstream if address is None else address
        for path, data in published.imported.items():
            file = self.cache / "import" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        fields: dict[str, Any] = {
            "name": NAME,
            "uri": published.uri(address),
            "sha256": published.sha256,
            "size": published.size,
            "format": published.format,
            "config": CONFIG,
            "secret": _mount(self.secrets / "credentials", published.secret),
            "settings": _mount(self.settings / "site", published.settings(address)),
        }
        return FetchRequest(
            models=(ModelRequest(**(fields | changes)),), cache=str(self.cache), repository=str(self.repository)
        )

    def fetch(self, request: FetchRequest, patience: Patience | None = None) -> Report:
        """Run the fetch in this process; by default it waits for nothing and gives up after four tries."""
        patience = patience or Patience(attempts=4, staked=3.0, sleep=lambda _: None)
        return fetch_all(request, patience, mounts=Mounts.below(self.mounts))

    @contextlib.contextmanager
    def container(
        self, request: FetchRequest, program: Sequence[str] = ("-m", "littoral.modelstore.fetch")
    ) -> Iterator[subprocess.Popen[str]]:
        """Run the fetch as the container does, in a process of its own; it is killed if it is not awaited."""
        with subprocess.Popen(
            [sys.executable, *program],
            env={
                **os.environ,
                "LITTORAL_FETCH": request.dump(),
                "LITTORAL_TERMINATION_LOG": str(self.termination_log),
                "LITTORAL_MOUNTS": str(self.mounts),
            },
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def report(self) -> Report:
        """What the last container wrote."""
        report = parse_report(self.termination_log.read_text(encoding="utf-8"))
        assert report is not None
        return report

    def wrong(self, published: Published) -> str:
        """What Triton could reach that is not what was promised; "" where there is none."""
        promised = {f"{NAME}/{path}": data for path, data in published.files.items()}
        for path, data in _reachable(self.repository).items():
            # What is being laid out is bound by the same promise.
            name = path.removeprefix(".draft/")
            if name != f"{NAME}/config.pbtxt" and promised.get(name) != data:
                return f"{path} ({len(data)} bytes) is not what was promised"
        for entry in (self.cache / "sha256").glob("*/verified.json"):
            digest = json.loads(entry.read_bytes())["digest"]
            if digest != published.sha256:
                return f"the cache holds {digest} for verified, and nobody asked for it"
        return ""

    def serves(self, published: Published) -> bool:
        """Whether Triton finds the whole model and nothing else."""
        expected = {f"{NAME}/{path}": data for path, data in published.files.items()}
        return _reachable(self.repository) == expected | {f"{NAME}/config.pbtxt": CONFIG.encode()}

    def empty(self) -> bool:
        """Whether Triton finds nothing at all."""
        return not list(self.repository.iterdir())

    @contextlib.contextmanager
    def watched(self, published: Published) -> Iterator[None]:
        """Look at the repository again and again while the block runs; it fails where a look showed a wrong byte."""
        seen: list[str] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.002):
                # A file that goes away between two looks of one pass is no wrong byte.
                with contextlib.suppress(FileNotFoundError):
                    if finding := self.wrong(published):
                        seen.append(finding)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
        assert not seen, seen[0]


def _reachable(repository: Path) -> dict[str, bytes]:
    """Every file that Triton could open, through whatever links, by its path in the repository."""
    found = {}
    for folder, _, names in os.walk(repository, followlinks=True):
        for name in names:
            path = Path(folder, name)
            found[path.relative_to(repository).as_posix()] = path.read_bytes()
    return found


def _mount(folder: Path, keys: Mapping[str, str]) -> str:
    """Make a Secret's or ConfigMap's folder as the kubelet does; its name, or "" where it holds nothing."""
    folder.mkdir(exist_ok=True)
    for key, text in keys.items():
        (folder / key).write_text(text, encoding="utf-8")
    return folder.name if keys else ""
