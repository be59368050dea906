"""`littoral node probe`: what runs on the node, the Job that brings it there, and what is said of the answer."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from littoral.accelerators.jetson import Report
from littoral.api import group
from littoral.cli import node, probejob
from littoral.cli.main import main
from littoral.cli.probe import read

RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n# KERNEL_VARIANT: oot\n"
NX = Report("NVIDIA Jetson Orin NX Developer Kit", ("nvidia,p3767-0000",), RELEASE.splitlines()[0], "aarch64", 15655)


class TestOnTheNode:
    def test_reads_the_device_tree_and_the_release(self, tmp_path: Path) -> None:
        tree = tmp_path / "devicetree" / "base"
        tree.mkdir(parents=True)
        (tree / "model").write_bytes(b"NVIDIA Jetson Orin NX Developer Kit\0")
        (tree / "compatible").write_bytes(b"nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0")
        (tmp_path / "release").write_text(RELEASE)
        report = read(tmp_path, tmp_path / "release")
        assert report.model == "NVIDIA Jetson Orin NX Developer Kit"
        assert report.compatible == ("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000")
        assert report.release == NX.release
        assert report.memory > 0
        assert report.machine

    def test_a_machine_without_them_answers_too(self, tmp_path: Path) -> None:
        report = read(tmp_path, tmp_path / "release")
        assert (report.model, report.compatible, report.release) == ("", (), "")


def job(**more: Any) -> dict[str, Any]:
    arguments = {"image": "littoral:1", "namespace": "kube-system", "timeout": 60.0, "tegra": True, **more}
    return probejob.manifest("edge-1", **arguments)


class TestTheJob:
    def test_is_for_this_node_whatever_its_taints(self) -> None:
        pod = job()["spec"]["template"]["spec"]
        (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["edge-1"]}]}
        assert pod["tolerations"] == [{"operator": "Exists"}]

    def test_is_none_of_the_operators_own(self) -> None:
        labels = job()["spec"]["template"]["metadata"]["labels"]
        assert group.LABEL_MANAGED_BY not in labels
        assert labels[group.LABEL_PART_OF] == "littoral"

    def test_may_read_two_things_and_nothing_else(self) -> None:
        pod = job()["spec"]["template"]["spec"]
        assert [volume["hostPath"] for volume in pod["volumes"]] == [
            {"path": "/sys/firmware", "type": "Directory"},
            {"path": "/etc/nv_tegra_release", "type": "File"},
        ]
        (container,) = pod["containers"]
        assert all(mount["readOnly"] for mount in container["volumeMounts"])
        security = container["securityContext"]
        assert security["runAsNonRoot"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not security["allowPrivilegeEscalation"]
        assert not pod["automountServiceAccountToken"]

    def test_mounts_no_file_that_only_a_jetson_has_elsewhere(self) -> None:
        """A file that is missing would hold the pod for ever, or have to be made on the host."""
        (volume,) = job(tegra=False)["spec"]["template"]["spec"]["volumes"]
        assert volume["hostPath"]["path"] == "/sys/firmware"

    def test_ends_by_itself(self) -> None:
        spec = job(timeout=60.0)["spec"]
        assert (spec["activeDeadlineSeconds"], spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (120, 0, 300)


@pytest.mark.parametrize(
    ("report", "applied", "lines"),
    [
        (
            NX,
            False,
            [
                "node edge-1: NVIDIA Jetson Orin NX Developer Kit, module p3767-0000, Jetson Linux 36.4.3",
                ("kubectl label node edge-1 littoral.dev/profile=jetson-orin-nx-16gb littoral.dev/stack=jetpack-6.2"),
            ],
        ),
        (
            NX,
            True,
            [
                "node edge-1: NVIDIA Jetson Orin NX Developer Kit, module p3767-0000, Jetson Linux 36.4.3",
                "labelled littoral.dev/profile=jetson-orin-nx-16gb littoral.dev/stack=jetpack-6.2",
            ],
        ),
        (
            Report(machine="x86_64", memory=64000),
            True,
            [
                "node edge-1: no device tree (x86_64)",
                "it is no Jetson: what else it may have is found by the labels of its device plugins",
            ],
        ),
        (
            Report("NVIDIA Jetson TX2", ("nvidia,p3310-1000",), "# R99 (release), REVISION: 1.0", "aarch64", 7850),
            False,
            [
                "node edge-1: NVIDIA Jetson TX2, Jetson Linux 99.1.0",
                (
                    "it is no Jetson that the catalogue has: what else it may have is found by the labels of its "
                    "device plugins"
                ),
                "JetPack of 99.1.0 is not known: declare spec.stack.jetpack of the EdgeNode",
            ],
        ),
    ],
)
def test_what_is_said(report: Report, applied: bool, lines: list[str]) -> None:
    assert node.describe("edge-1", report, applied=applied) == lines


def test_an_image_is_needed() -> None:
    result = CliRunner().invoke(main, ["node", "probe", "edge-1"], env={"LITTORAL_FETCH_IMAGE": ""})
    assert result.exit_code == 2
    assert "Missing option '--image'" in result.output


def test_no_cluster(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    result = CliRunner().invoke(main, ["node", "probe", "edge-1", "--image", "littoral:1", "--kubeconfig", missing])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
