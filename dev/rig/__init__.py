"""The local cluster: real control planes, real nodes in namespaces, KWOK fleets and emulated devices on one machine.

Public entry points: `rig.controlplane.ControlPlane` (an API server alone), `rig.cluster.up`/`down` (with real nodes),
`rig.node.RealNode`, `rig.kwok.Kwok`, and the command `python -m rig`.
"""
