"""The nodes of `make cluster` and `make demo`: two machines of different kinds, both emulated.

edge-t4 says what it is by the labels that NVIDIA's feature discovery writes; edge-jetson carries none, as Jetsons do.
Each advertises one device through the emulated device plugin.
"""

from __future__ import annotations

from rig.nodefiles import NodeSpec

DEMO_NODES = (
    NodeSpec(
        "edge-t4",
        labels={
            "nvidia.com/gpu.product": "Tesla-T4",
            "nvidia.com/gpu.memory": "15360",
            "nvidia.com/gpu.count": "1",
            "topology.kubernetes.io/zone": "mec-1",
        },
        devices={"nvidia.com/gpu": 1},
    ),
    NodeSpec("edge-jetson", labels={"topology.kubernetes.io/zone": "line-3"}, devices={"nvidia.com/gpu": 1}),
)
