"""The nodes of `make cluster` and `make demo`: two machines of different kinds, both emulated.

edge-t4 says what it is by the labels that NVIDIA's feature discovery writes; edge-jetson carries none, as Jetsons do,
and is declared by its EdgeNode. Each advertises one device, cut in equal shares, through the emulated device plugin;
the profiles behind them are in examples/plate-reader/catalogue.yaml.
"""

from __future__ import annotations

from rig.nodefiles import NodeSpec

DEMO_NODES = (
    NodeSpec(
        "edge-t4",
        labels={
            "nvidia.com/gpu.product": "Emulated-T4-SHARED",
            "nvidia.com/gpu.memory": "15360",
            "nvidia.com/gpu.count": "1",
            "nvidia.com/gpu.replicas": "4",
            "nvidia.com/gpu.sharing-strategy": "time-slicing",
            "topology.kubernetes.io/zone": "mec-1",
        },
        devices={"nvidia.com/gpu": 1},
        replicas={"nvidia.com/gpu": 4},
    ),
    NodeSpec(
        "edge-jetson",
        labels={"topology.kubernetes.io/zone": "line-3"},
        devices={"nvidia.com/gpu": 1},
        replicas={"nvidia.com/gpu": 2},
    ),
)
