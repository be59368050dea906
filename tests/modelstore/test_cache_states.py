"""Whatever happens in whatever order to one cache: slices serve, prefetch, come and go, containers die at any write,
two run at a time, machines lose power and bits, sources are wrong for a while.

What holds after each step: nothing unverified is found or laid out; nothing that a live slice's pin holds is collected;
a fetch that succeeded kept the quota; none that died holds up the next.
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.modelstore.conftest import Namespace, make_namespace, onnx, sha256, tar
from tests.modelstore.test_faults import Killed, killed_at

from littoral.modelstore import cache as caches
from littoral.modelstore.cache import Cache, stored_size
from littoral.modelstore.report import Report
from littoral.modelstore.request import ModelRequest

KIB = 1 << 10
QUOTA = 26 * KIB
FILES = {f"file{number}": bytes([number]) * (4 + number) * KIB for number in range(3)}
MEMBERS = {f"archive{number}": {"1/model.py": bytes([64 + number]) * 6 * KIB, "labels": b"x"} for number in range(2)}
BODIES = FILES | {name: tar(members, "w:gz") for name, members in MEMBERS.items()}
NAMES = {sha256(body): name for name, body in BODIES.items()}
SLICES = ("red", "green", "blue")

slices, models = st.sampled_from(SLICES), st.sampled_from(sorted(BODIES))


def is_whole(content: Path, name: str) -> bool:
    if name in FILES:
        return content.is_file() and content.read_bytes() == FILES[name]
    return all((content / path).is_file() and (content / path).read_bytes() == b for path, b in MEMBERS[name].items())


class CacheStates(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.namespace = make_namespace(Path(self.folder.name))
        self.patch = pytest.MonkeyPatch()
        self.boots = 0
        self.serving: dict[str, str] = {}
        """By slice: the model that its running server was given."""
        self.damaged: set[str] = set()
        """Models whose source holds something else."""

    @initialize()
    def begin(self) -> None:
        self.boot()
        for name, body in BODIES.items():
            self.namespace.import_file(name, body)

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    def boot(self) -> None:
        self.boots += 1
        self.patch.setattr(caches, "boot_id", lambda boot=f"boot-{self.boots}": boot)
        self.serving.clear()

    # What happens.

    @rule(name=slices, model=models)
    def a_server_starts(self, name: str, model: str) -> None:
        held = self.held()
        self.stop(name)
        report = self.fetch(name, model)
        self.ended(name, model, report)
        self.assert_none_lost(held)

    @rule(name=slices, model=models, only=st.booleans())
    def the_next_is_prefetched(self, name: str, model: str, only: bool) -> None:
        """With `only`, the list of slices says that no other has a server here."""
        held = self.held()
        if only:
            for other in set(SLICES) - set(self.serving) - {name}:
                self.forget(other)
        listed = tuple({*self.serving, name}) if only else None
        report = self.fetch(name, model, prefetch=True, slices=listed)
        if report.ok:
            assert Cache(self.namespace.cache).find(sha256(BODIES[model]))
        self.assert_none_lost(held)

    @rule(name=slices, model=models, call=st.integers(0, 70), prefetch=st.booleans())
    def a_container_is_killed_and_runs_again(self, name: str, model: str, call: int, prefetch: bool) -> None:
        held = self.held()
        if not prefetch:
            self.stop(name)
        with contextlib.suppress(Killed), killed_at(call):
            self.fetch(name, model, prefetch=prefetch)
        self.nothing_else_is_found()
        self.parts_are_beginnings()
        report = self.fetch(name, model, prefetch=prefetch)
        if not prefetch:
            self.ended(name, model, report)
        self.assert_none_lost(held)

    @rule(first=models, second=models)
    def two_start_at_a_time(self, first: str, second: str) -> None:
        held = self.held()
        wanted = {"red": first, "green": second}
        for name in wanted:
            self.stop(name)
        with ThreadPoolExecutor(2) as pool:
            running = {name: pool.submit(self.fetch, name, model) for name, model in wanted.items()}
        for name, model in wanted.items():
            self.ended(name, model, running[name].result())
        self.assert_none_lost(held)

    @rule()
    def the_power_fails(self) -> None:
        self.boot()

    @precondition(lambda self: bool(Cache(self.namespace.cache).kept()))
    @rule(data=st.data())
    def the_power_fails_and_a_bit_is_lost(self, data: st.DataObject) -> None:
        self.boot()
        digest = data.draw(st.sampled_from(Cache(self.namespace.cache).kept()))
        entry = self.namespace.cache / "sha256" / digest
        files = sorted(path for path in entry.rglob("*") if path.is_file() and path.stat().st_size)
        path = data.draw(st.sampled_from(files))
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)

    @rule(model=models)
    def a_source_holds_something_else(self, model: str) -> None:
        self.damaged.add(model)
        self.namespace.import_file(model, BODIES[model][:-1] + b"?")

    @precondition(lambda self: bool(self.damaged))
    @rule()
    def the_sources_are_right_again(self) -> None:
        for model in self.damaged:
            self.namespace.import_file(model, BODIES[model])
        self.damaged.clear()

    # What holds.

    @invariant()
    def nothing_else_is_found(self) -> None:
        cache = Cache(self.namespace.cache)
        for path in (self.namespace.cache / "sha256").glob("*"):
            if artifact := cache.find(path.name):
                assert is_whole(artifact.content, NAMES[path.name])

    @invariant()
    def what_servers_were_given_is_there(self) -> None:
        for name, model in self.serving.items():
            folder = self.pod(name).repository / "plate"
            assert is_whole(folder / "1" / "model.onnx" if model in FILES else folder, model)

    @invariant()
    def parts_are_beginnings(self) -> None:
        for part in (self.namespace.cache / "tmp").glob("*/content"):
            if part.is_file() and part.parent.name in NAMES:
                assert BODIES[NAMES[part.parent.name]].startswith(part.read_bytes()) or self.damaged

    # How it is done and seen.

    def pod(self, name: str) -> Namespace:
        return self.namespace.pod(f"pod-{name}")

    def fetch(self, name: str, model: str, *, prefetch: bool = False, slices: tuple[str, ...] | None = None) -> Report:
        wishes = {"prefetch": prefetch, "slices": slices, "listed": int(time.time()), "quota": QUOTA}
        return self.pod(name).fetch(self.request(model), pinned_by=name, **wishes)

    def request(self, model: str) -> ModelRequest:
        return onnx(f"file:///import/{model}", BODIES[model], size=None, config=None)

    def stop(self, name: str) -> None:
        self.serving.pop(name, None)
        shutil.rmtree(self.pod(name).repository)

    def forget(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.namespace.cache / "pins" / f"{name}.json", (0, 0))

    def ended(self, name: str, model: str, report: Report) -> None:
        if report.ok:
            self.serving[name] = model
            assert self.taken() <= QUOTA
            return
        assert report.reason in {"CacheFull", "DigestMismatch"}, report
        assert report.reason == "CacheFull" or model in self.damaged
        assert list(self.pod(name).repository.iterdir()) == []

    def taken(self) -> int:
        return sum(stored_size(path) for path in self.namespace.cache.glob("*/*/content"))

    def held(self) -> dict[str, set[str]]:
        """By slice: what its pin holds that is there and sound."""
        cache = Cache(self.namespace.cache)
        kept = {digest for digest in cache.kept() if cache.find(digest)}
        pins = {path.stem: json.loads(path.read_text()) for path in (self.namespace.cache / "pins").glob("*.json")}
        return {name: {*pin["current"], *pin["last"], *pin["next"]} & kept for name, pin in pins.items()}

    def assert_none_lost(self, before: dict[str, set[str]]) -> None:
        """What a pin held before and holds now, it held all the time."""
        cache = Cache(self.namespace.cache)
        for name, pin in cache.pins.holders().items():
            assert pin is not None
            for digest in before.get(name, set()) & pin.digests():
                assert cache.find(digest), f"{NAMES[digest]}, which {name} holds"


CacheStates.TestCase.settings = settings(
    deadline=None,
    max_examples=40,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestCacheStates = CacheStates.TestCase
