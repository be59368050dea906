"""What decisions read of objects that are not ours in kind: Nodes and the pods of served models, as small values.

The store keeps these in place of bodies: a Node's JSON is 10 to 60 KB in memory, its facts one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from littoral.api.gpuslice import Allocation

NodeReady = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Taint:
    """A core/v1 Taint."""

    key: str
    effect: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A Node, as far as placement and connectivity depend on it."""

    name: str
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Those that discovery and autonomy read; a Node may have large ones of others."""
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    ready: NodeReady = "Unknown"
    """The Ready condition. Unknown is what the node lifecycle controller writes when heartbeats stop: offline."""
    ready_since: datetime | None = None
    architecture: str = ""
    boot_id: str = ""
    memory: int = 0
    """Allocatable memory, MiB."""
    cpu: int = 0
    """Allocatable CPU, thousandths of a core."""
    resources: Mapping[str, int] = field(default_factory=dict)
    """Allocatable extended resources (names with a slash), in units."""
    pods: int = 0
    """Pods that the kubelet takes; 0: not said."""
    disk: int = 0
    """Allocatable ephemeral storage, MiB; 0: not said."""
    address: str = ""
    """Its InternalIP."""
    kubelet: str = ""
    """The kubelet's version; KubeEdge's says so in it."""

    @property
    def connected(self) -> bool:
        """Whether the control plane hears from it; a node that reports itself not ready is connected."""
        return self.ready != "Unknown"


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """One container of a pod: whether it runs and answers, and why not."""

    ready: bool = False
    running: bool = False
    waiting_reason: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    """Of the current or, where it runs or waits again, the last termination; None if it never ended."""
    termination_message: str = ""
    restarts: int = 0
    started: datetime | None = None
    """Since when it runs, by the node's clock: shown, never compared."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What a sharing mechanism says it gave to a pod."""

    uuid: str
    """Of the device."""
    memory: int
    """MiB."""
    compute: int = 0
    """Percent of the device."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod of a served model."""

    namespace: str
    name: str
    uid: str
    node: str
    slice: str
    revision: str
    phase: str
    deleting: bool
    fetch: ContainerFacts
    server: ContainerFacts
    grant: Allocation | None
    """What its annotation says it was granted: charged for as long as the pod exists."""
    scheduling_message: str = ""
    """Why the scheduler or the kubelet refused it, if so."""
    refused_at: datetime | None = None
    """Since when they refuse it; None where they do not."""
    created: datetime | None = None
    ip: str = ""
    model_containers: Mapping[str, ContainerFacts] = field(default_factory=dict)
    """Of a shared server: the container that stands for each model, by the model's name."""
    model: str = ""
    """The InferenceModel it serves; empty for a shared server."""
    unlimited: str = ""
    """Why the limits of its sharing mechanism do not hold in it; empty where they do, or there are none."""
    reported: Reported | None = None
    """Which device it really has, where the sharing mechanism says so on the pod."""
    prefetch: str = ""
    """The slice whose next revision it brings to the node; it serves nothing and is charged nothing."""
    job: str = ""
    """The uid of the Job that it is of."""


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """The Deployment of a slice: what decisions read of it (its spec, for drift, is kept apart)."""

    namespace: str
    name: str
    uid: str
    slice: str
    model: str
    revision: str
    grant: Allocation | None
    previous: str = ""
    """The last revision that answered here, if any did; another than the present one while that is on trial."""
    refused: str = ""
    """Why its pods may not even be made (a quota, the namespace's Pod Security level), in the API server's words."""
    deleting: bool = False
    models: bool = False
    """The model owns it, for its slice is a user's; all others go with their slices."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A Job on a node, and how far it has come: it prefetches for a slice, or removes a model cache."""

    namespace: str
    name: str
    uid: str
    slice: str
    revision: str
    model: str = ""
    """The InferenceModel it is for; empty for a shared server."""
    succeeded: bool = False
    failed: str = ""
    """Why it has ended without success, in the Job controller's words; empty where it has not."""
    ended: datetime | None = None
    created: datetime | None = None
    deleting: bool = False
    made_on: str = ""
    """What the node was when it was made; see triton.prefetch.identity."""
    room: str = ""
    """The quota and the slices that it knows of; see triton.prefetch_job.room."""
    attempt: int = 0
    """How many before it, one in the place of the other, ended without what is needed."""
    interrupted: bool = False
    """Its node went offline before it had ended."""
    node: str = ""
    """Of a cleaning Job: where it cleans."""
    cache: str = ""
    """Of a cleaning Job: the UID of the namespace whose cache it removes."""
