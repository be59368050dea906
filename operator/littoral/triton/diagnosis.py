"""What a pod's status says about its model, in a word and a sentence.

The kubelet is the operator's only eye. The fetch container ends with a report; Triton ends, when it cannot load, with
the tail of its log as termination message. What neither says is unknown, never true.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from littoral.api.conditions import Status
from littoral.api.group import SERVER_CONTAINER
from littoral.api.quantity import MIB, short_mib
from littoral.api.workload import ContainerFacts, PodFacts
from littoral.modelstore.errors import REASONS
from littoral.modelstore.report import FailedModel, parse_report

JOINING: Final = "Joining"
"""The reason of a model that its group's server does not hold yet."""
_ABSENT: Final = ContainerFacts()
_IMAGE_REASONS: Final = {"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName"}
_LOAD_FAILURES: Final = (
    re.compile(r"failed to load '[^']*' version \d+: ([^\"\n]+)"),
    re.compile(r"version \d+ is at UNAVAILABLE state: ([^\n]+?);?$", re.MULTILINE),
    re.compile(r"UNAVAILABLE: ([^|\n]+?)\s*\|"),
    re.compile(r"^error: (.+)$", re.MULTILINE),
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How far a replica has come, and why no further."""

    fetched: Status
    loaded: Status
    reason: str
    message: str
    terminal: bool = False
    """It will not heal without a change of the spec or of the artifact."""


def triton_sentence(log: str) -> str:
    """The sentence in which Triton says why a model did not load; the log's last line where none is found.

    Of a container that failed the kubelet keeps the log's last 2,048 bytes, which Triton mostly fills with its tables.
    """
    for pattern in _LOAD_FAILURES:
        found = pattern.findall(log)
        if found:
            return str(found[-1]).strip().rstrip('"')[:1024]
    lines = [line for line in log.strip().splitlines() if line.strip(" +-|")]
    return lines[-1].strip()[:1024] if lines else "Triton said nothing"


def diagnose(
    pod: PodFacts | None,
    models: Sequence[str] = (),
    refused: str = "",
    size: int | None = None,
    called: Mapping[str, str] = MappingProxyType({}),
) -> Diagnosis:
    """What is known of a replica from its pod; of a shared server, of these models on it.

    `refused` is why a pod may not be made, if so; `size` is how many bytes are to be fetched, where that is declared;
    `called` by what names Triton knows the models, where by others.
    """
    if pod is None and refused:
        return Diagnosis("Unknown", "Unknown", "PodForbidden", refused[:1024])
    seen = _pod(pod, size)
    if pod is None or not models:
        return seen
    of = [_model(pod, seen, model, called.get(model, model)) for model in models]
    return next((each for each in of if each.loaded != "True"), of[0])


def stands_for(pod: PodFacts, model: str) -> ContainerFacts:
    """The container of a shared server's pod that is ready while this model answers."""
    return pod.model_containers.get(model, _ABSENT)


def _model(pod: PodFacts, seen: Diagnosis, model: str, called: str) -> Diagnosis:
    """What is known of one model on a shared server, of which `seen` is known."""
    if model not in pod.model_containers:
        return Diagnosis("Unknown", "Unknown", JOINING, "the shared server that runs does not hold it yet")
    report = parse_report(pod.fetch.termination_message)
    failure = next((each for each in report.failures if each.name == called), None) if report is not None else None
    if failure is not None:
        seen = not_fetched(failure)
        # Nobody fetches for a server that runs: what it started without stays away until it starts anew.
        again = "" if seen.terminal else "; `littoral rollout refresh` starts the server anew and tries again"
        return replace(seen, message=f"{seen.message}{again}")
    if not pod.server.ready:
        return seen
    if pod.model_containers[model].ready:
        return Diagnosis("True", "True", "Serving", "the model answers")
    where = f"`kubectl logs --namespace={pod.namespace} {pod.name} --container={SERVER_CONTAINER}` says why"
    return Diagnosis("True", "False", "ModelNotReady", f"Triton is up but does not serve it: {where}")


def not_fetched(failure: FailedModel) -> Diagnosis:
    """What a report says of a model that the server starts without. Only a known word may stand as a reason."""
    reason = failure.reason if failure.reason in REASONS else "FetchFailed"
    return Diagnosis("False", "Unknown", reason, failure.message, terminal=not REASONS.get(reason, True))


def _pod(pod: PodFacts | None, size: int | None) -> Diagnosis:
    """What is known of the server, or of the only model on it."""
    if pod is None:
        return Diagnosis("Unknown", "Unknown", "Starting", "waiting for its pod")
    if pod.scheduling_message:
        return Diagnosis("Unknown", "Unknown", "PodRefused", pod.scheduling_message[:1024])
    fetched = fetch(pod.fetch, size)
    if fetched.fetched == "True":
        return _server(pod.server)
    # The kubelet forgets how an init container ended once the runtime has removed it; what answers is loaded.
    return replace(fetched, loaded="True") if pod.server.ready else fetched


def fetch(container: ContainerFacts, size: int | None = None) -> Diagnosis:
    """What is known of a fetch container; `size` is how many bytes it is to bring, where that is declared.

    An attempt that runs is not what the one before it ended with: that is said, and decides nothing.
    """
    if not container.running:
        return last_attempt(container)
    before = last_attempt(container)
    told = f"; before that: {before.reason}: {before.message}" if before.fetched == "False" else ""
    message = f"fetching the model{expected(size, container.started)}{told}"
    return Diagnosis("Unknown", "Unknown", "Fetching", message[:1024])


def last_attempt(container: ContainerFacts) -> Diagnosis:
    """What a fetch container ended with when it last did, whatever it does now; why it waits where it never ran."""
    report = parse_report(container.termination_message)
    if container.exit_code == 0:
        if report is not None and report.outcome != "failed":
            return Diagnosis("True", "Unknown", "Fetched", "the model is verified on the node")
        return Diagnosis("Unknown", "Unknown", "FetchUnproven", "the fetch container ended without a report")
    if container.exit_code is not None:
        if report is None:
            tail = container.termination_message.strip()[-512:]
            return Diagnosis(
                "False", "Unknown", "FetchFailed", f"the fetch container ended with {container.exit_code}: {tail}"
            )
        # What a node says is a claim: only a known word may stand as a condition's reason.
        reason = report.reason if report.reason in REASONS else "FetchFailed"
        return Diagnosis("False", "Unknown", reason, report.message, terminal=not REASONS.get(reason, True))
    return waiting(container, "Unknown")


def expected(size: int | None, started: datetime | None) -> str:
    """How much is fetched and since when: " (180Mi) since 2026-01-31T09:31:05Z by the node's clock"."""
    much = "" if size is None else f" ({short_mib(max(1, round(size / MIB)))})"
    return much if started is None else f"{much} since {started.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} by the node's clock"


def _server(container: ContainerFacts) -> Diagnosis:
    if container.ready:
        return Diagnosis("True", "True", "Serving", "the model answers")
    if container.exit_code is not None:
        log = container.termination_message
        sentence = triton_sentence(log) if log.strip() else f"Triton ended with {container.exit_code}, without a word"
        return Diagnosis("True", "False", "ModelLoadFailed", sentence)
    if container.running:
        return Diagnosis("True", "Unknown", "Loading", "Triton is loading the model")
    return waiting(container, "True")


def waiting(container: ContainerFacts, fetched: Status) -> Diagnosis:
    """Why a container does not run yet."""
    reason, message = container.waiting_reason, container.waiting_message
    if reason in _IMAGE_REASONS:
        return Diagnosis(fetched, "Unknown", "ImageUnavailable", message or reason)
    if reason and reason not in {"PodInitializing", "ContainerCreating"}:
        return Diagnosis(fetched, "Unknown", reason[:128], message or reason)
    return Diagnosis(fetched, "Unknown", "Starting", "its pod is starting")
