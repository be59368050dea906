"""One operator at work: the second waits, takes over when the first is killed, and who loses the Lease ends with 1."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.site import Site, eventually

from littoral.api import group
from littoral.controller.election import LEASES
from rig.controlplane import ControlPlane

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("no_operator")]


class Candidate:
    """An operator process and what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    async def logs(self, words: str) -> None:
        """Wait until it has logged these words."""

        async def check() -> None:
            assert self.process.returncode is None, self.log
            assert words in self.log, self.log[-2000:]

        await eventually(check)


@contextlib.asynccontextmanager
async def candidate(plane: ControlPlane, account: Path, name: str) -> AsyncIterator[Candidate]:
    log = plane.state / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "littoral", "run", f"--kubeconfig={account}", "--fetch-image=fetch.test/littoral:1",
            "--health-host=127.0.0.1", "--health-port=0", stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield Candidate(process, log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_the_second_waits_and_takes_over_when_the_first_is_killed(
    site: Site, plane: ControlPlane, account: Path
) -> None:
    async with candidate(plane, account, "first") as first:
        await first.logs("acquired as")
        async with candidate(plane, account, "second") as second:
            await second.logs("waiting for the lease")
            (node,) = await site.nodes("a")
            await site.model("early")
            await site.serves_on("early", node)
            assert "acquired as" not in second.log
            first.process.send_signal(signal.SIGKILL)
            await site.model("late")
            await site.serves_on("late", node)  # fifteen seconds of Lease, then the work
            assert "acquired as" in second.log


async def test_who_loses_the_lease_ends_with_a_sentence_and_1(site: Site, plane: ControlPlane, account: Path) -> None:
    async with candidate(plane, account, "loser") as loser:
        await loser.logs("acquired as")
        await site.nodes("a")  # it works
        lease = await site.client.get(LEASES, group.OPERATOR_NAMESPACE, group.LEASE_NAME)
        usurped = {"spec": {"holderIdentity": "usurper"}}
        await site.client.patch(
            LEASES, group.OPERATOR_NAMESPACE, group.LEASE_NAME, usurped, uid=lease["metadata"]["uid"]
        )
        assert await asyncio.wait_for(loser.process.wait(), 30) == 1
        assert "is held by usurper" in loser.log.splitlines()[-1]
    await site.client.delete(LEASES, group.OPERATOR_NAMESPACE, group.LEASE_NAME, uid=lease["metadata"]["uid"])


async def test_who_is_told_to_stop_ends_with_0_and_lets_go_of_the_lease(
    plane: ControlPlane, account: Path, site: Site
) -> None:
    async with candidate(plane, account, "obedient") as operator:
        await operator.logs("acquired as")
        await site.nodes("a")  # it works
        operator.process.terminate()
        assert await asyncio.wait_for(operator.process.wait(), 10) == 0
        lease = await site.client.get(LEASES, group.OPERATOR_NAMESPACE, group.LEASE_NAME)
        assert lease["spec"].get("holderIdentity", "") == ""
