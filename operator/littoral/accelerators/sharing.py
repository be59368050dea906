"""How a resource that a device plugin counts is shared: by which mechanism, and in how many shares for each device.

What is declared holds, unless the machine shows otherwise: then the least that both allow is handed out. What nobody
declares is read off the Node: gpu-feature-discovery names the strategy and the replicas, and of a device whose memory
is the node's there is one alone, so that several units are its shares.
"""

from dataclasses import dataclass
from typing import Final

from littoral.accelerators import labels
from littoral.accelerators.inquiry import DECLARATION, Claim, Inquiry
from littoral.accelerators.profile import Mechanism, Profile

COUNTED: Final[tuple[Mechanism, ...]] = ("counted", "time-slicing", "mps", "share-dev-count")
"""Mechanisms under which one unit of the resource is a share of a device."""
_UNTOLD: Final[tuple[Mechanism, ...]] = ("counted", "time-slicing", "share-dev-count")
"""Those that may be concluded from a number of shares alone: they promise no isolation."""
_MPS_CLIENTS: Final = 48
_MPS_CLIENTS_BEFORE_TURING: Final = 16
"""NVIDIA/k8s-device-plugin, internal/rm: the limit is 48 from compute capability 7.5 on."""
_SHARE_DEV_COUNT: Final = 100
"""ascend-device-plugin's -shareDevCount is 1 to 100 (Ascend/mind-cluster)."""


@dataclass(frozen=True, slots=True)
class Cut:
    """By which mechanism, None where nothing may be handed out; in how many shares, 0 where nobody says."""

    mechanism: Mechanism | None
    shares: int
    because: str = ""
    """The fact from which the mechanism was concluded, where it is not the claim's own."""
    contradicted: bool = False
    """Whether a sentence about the number of shares has been said already."""


def cut(claim: Claim, there: int, inquiry: Inquiry) -> Cut:
    """How the claim's devices are cut, of which the Node advertises `there` units."""
    decided = _as_declared(claim, inquiry) if claim.mode else _as_shown(claim, there, inquiry)
    return _bounded(claim.profile, decided, inquiry)


def _as_declared(claim: Claim, inquiry: Inquiry) -> Cut:
    profile, mode, node = claim.profile, claim.mode, inquiry.node
    assert mode is not None  # noqa: S101 - narrows the type; the caller has asked
    if mode == "whole" and claim.shares:
        inquiry.mismatch(
            f"{DECLARATION} declares {profile.name} to be given whole, and cut into {claim.shares} shares",
            "leave out `replicas`, or name the mechanism in `mode`",
        )
        return Cut(None, 1, contradicted=True)
    replicas = labels.figure(node, profile, "gpu.replicas")
    shares = 1 if mode == "whole" else claim.shares or (replicas if replicas > 1 else 0)
    strategy = _strategy(claim, inquiry)
    if strategy is not None and mode in {"whole", "time-slicing", "mps"} and strategy != mode:
        word = node.labels.get(labels.STRATEGY, "none")
        inquiry.not_configured(profile, mode, shares, f"the Node label {labels.STRATEGY} says {word}")
        # Without its daemon MPS limits nobody: what was promised cannot be given.
        return Cut(None if mode == "mps" else mode, shares, contradicted=True)
    return Cut(mode, shares, contradicted=_replicas_differ(claim, mode, replicas, inquiry))


def _replicas_differ(claim: Claim, mode: Mechanism, replicas: int, inquiry: Inquiry) -> bool:
    """Note declared replicas that the Node's label contradicts."""
    if not claim.shares or labels.REPLICAS not in inquiry.node.labels or not labels.nvidia(claim.profile):
        return False
    if claim.shares == max(1, replicas):
        return False
    inquiry.not_configured(
        claim.profile,
        mode,
        claim.shares,
        f"the Node label {labels.REPLICAS} says {inquiry.node.labels[labels.REPLICAS]}",
    )
    return True


def _strategy(claim: Claim, inquiry: Inquiry) -> Mechanism | None:
    """What gpu-feature-discovery says: 0 or 1 replicas are a whole device. None where it says nothing."""
    word = inquiry.node.labels.get(labels.STRATEGY)
    if word is None or not labels.nvidia(claim.profile):
        return None
    if labels.figure(inquiry.node, claim.profile, "gpu.replicas") <= 1:
        return "whole"
    return "mps" if word == "mps" else "time-slicing"


def _as_shown(claim: Claim, there: int, inquiry: Inquiry) -> Cut:
    profile = claim.profile
    replicas = labels.figure(inquiry.node, profile, "gpu.replicas")
    shares = claim.shares or (replicas if replicas > 1 else 0)
    strategy = _strategy(claim, inquiry)
    if strategy in {"time-slicing", "mps"}:
        chosen = strategy if strategy in profile.sharing else _first(profile, ("counted",))
        if chosen is None:
            inquiry.unsupported(profile, strategy or "")
        differ = _replicas_differ(claim, chosen or "counted", replicas, inquiry)
        return Cut(chosen, shares, f"Node label {labels.STRATEGY}={strategy}", contradicted=differ)
    because = ""
    if not shares and profile.unified and claim.count <= 1 < there:
        shares, because = there, f"one device, for its memory is the node's, and {there} units of it"
    if shares > 1:
        chosen = _first(profile, _UNTOLD)
        if chosen is None:
            inquiry.problem(
                "SharingUnsupported",
                f"each {profile.name} is cut into {shares} shares, but such a device can only be given whole",
            )
        differ = _replicas_differ(claim, chosen or "counted", replicas, inquiry)
        return Cut(chosen, shares, because, contradicted=differ)
    return Cut(_preferred(profile), 1)


def _preferred(profile: Profile) -> Mechanism:
    """By what a device is given of which the plugin counts one unit each."""
    if profile.sharing[0] == "counted" or "whole" not in profile.sharing:
        return _first(profile, _UNTOLD) or profile.sharing[0]
    return "whole"


def _first(profile: Profile, wanted: tuple[Mechanism, ...]) -> Mechanism | None:
    return next((mechanism for mechanism in profile.sharing if mechanism in wanted), None)


def _bounded(profile: Profile, decided: Cut, inquiry: Inquiry) -> Cut:
    """More shares than the mechanism can have are refused."""
    if decided.mechanism == "mps":
        most, why = _mps_clients(profile, inquiry)
    elif decided.mechanism == "share-dev-count":
        most, why = _SHARE_DEV_COUNT, "ascend-device-plugin's -shareDevCount goes no further"
    else:
        return decided
    if decided.shares <= most:
        return decided
    inquiry.problem(
        "SharingUnsupported",
        f"each {profile.name} is cut into {decided.shares} shares by {decided.mechanism}, but {most} are the most: "
        f"{why}",
    )
    return Cut(None, decided.shares, decided.because, contradicted=True)


def _mps_clients(profile: Profile, inquiry: Inquiry) -> tuple[int, str]:
    """MPS clients that one device can have; where nobody says its compute capability, the fewest."""
    capability = profile.compute_capability
    if not capability:
        major, minor = (labels.figure(inquiry.node, profile, f"gpu.compute.{part}") for part in ("major", "minor"))
        capability = f"{major}.{minor}" if major else ""
    most = mps_clients(capability)
    before = "" if most == _MPS_CLIENTS else ", before 7.5"
    return most, f"MPS has {most} clients on compute capability {capability or 'unknown'}{before}"


def mps_clients(compute_capability: str) -> int:
    """MPS clients that one device can have; where its compute capability is not known, the fewest."""
    has = tuple(int(part) for part in compute_capability.split(".")) if compute_capability else (0, 0)
    return _MPS_CLIENTS if has >= (7, 5) else _MPS_CLIENTS_BEFORE_TURING
