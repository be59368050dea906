"""InferenceModel: one model, a variant of it for each kind of hardware, and where it shall serve."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from littoral.api.base import (
    ApiModel,
    Condition,
    Duration,
    LabelKey,
    LabelValue,
    Metadata,
    Name,
    Quantity,
    Vocabulary,
    pending_conditions,
    rules,
)
from littoral.api.gpuslice import Isolation
from littoral.api.group import ANNOTATION_REFRESH, GRPC_PORT, HTTP_PORT, METRICS_PORT

MAX_NAME: Final = 40
MAX_NODES_LISTED: Final = 100
MAX_FAILED: Final = 16


RevisionName = Annotated[str, Field(max_length=63)]
VersionRange = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[<>=!~0-9][0-9A-Za-z.,<>=!~* +-]*$")]
FailureNote = Annotated[str, Field(max_length=1024)]


class Signature(ApiModel):
    """A signature over the artifact's files: an OpenSSF model signing bundle, made with a private key."""

    uri: Annotated[
        str,
        Field(
            max_length=1024,
            pattern=r"^((https?|s3|gs|az)://[^\s/]+/\S+|file:///import/\S+)?$",
            description="Where the bundle is. Default: model.sig, at the root of the artifact's folder.",
        ),
    ] = ""


class Source(ApiModel):
    """Where a variant's artifact comes from, and the proof of it."""

    uri: Annotated[
        str,
        Field(
            min_length=8,
            max_length=1024,
            pattern=r"^((https?|s3|gs|az)://[^\s/]+/\S+|oci://[^\s/]+/[^\s@]+@sha256:[a-f0-9]{64}|file:///import/\S+)$",
            description="http(s)://…, s3://BUCKET/KEY (gs and az too), oci://REGISTRY/REPOSITORY@sha256:…, or "
            "file:///import/…, a path below import/ in the namespace's folder on the node. One that ends in '/' is a "
            "folder.",
            json_schema_extra=rules(
                (
                    "!self.startsWith('file://') || !self.split('/').exists(part, part == '..')",
                    "spec.variants.source.uri: a path below import/ cannot contain '..'",
                ),
                (
                    "!(self.startsWith('http') && self.endsWith('/'))",
                    "spec.variants.source.uri: a folder cannot be fetched by HTTP, which lists none: pack it as a tar",
                ),
            ),
        ),
    ]
    sha256: Annotated[
        str | None,
        Field(
            pattern="^[a-f0-9]{64}$",
            max_length=64,
            description="The artifact's digest; `littoral digest` prints it. Compulsory, for nothing unverified is "
            "loaded; but for oci://, which carries it.",
        ),
    ] = None
    size: Annotated[
        Quantity | None, Field(description="The artifact's declared size; one that is larger is refused.")
    ] = None
    layout: Annotated[
        Literal["Model", "Repository"],
        Field(
            description="Model: one model, a file or a folder. Repository: a whole Triton repository, of which "
            "serving.modelName is the model that clients call."
        ),
    ] = "Model"
    secret_name: Annotated[
        Name | None, Field(description="A Secret with what the source asks for; only the fetch container sees it.")
    ] = None
    config_map_name: Annotated[
        Name | None, Field(description="A ConfigMap with the source's settings: proxies, certificates, endpoints.")
    ] = None
    signature: Annotated[
        Signature | None,
        Field(description="Verified before it is loaded, by a key in the ConfigMap littoral-trusted-keys."),
    ] = None

    @property
    def digest(self) -> str:
        """The SHA-256 that the artifact must have, 64 hex digits: of the file, the folder's listing or the manifest."""
        return self.sha256 or self.uri.rpartition("@sha256:")[2]


class SliceRequest(ApiModel):
    """The fraction of an accelerator that a replica needs."""

    memory: Annotated[
        Quantity | None, Field(description="Device memory for the model; the server's own overhead is added.")
    ] = None
    compute: Annotated[int | None, Field(ge=0, le=100, description="Percent of one device's compute.")] = None
    isolation: Annotated[Isolation | None, Field(description="The least isolation accepted: None, Soft or Hard.")] = (
        None
    )


class Latency(ApiModel):
    """What was measured of a variant; nothing is scaled from it."""

    p99: Annotated[Duration, Field(description="99 of 100 requests took at most this long.")]
    at_compute: Annotated[
        int, Field(ge=1, le=100, description="Percent of one device that it had when it was measured.")
    ] = 100


class Variant(ApiModel):
    """The model in one format, for some accelerators."""

    name: Annotated[Name, Field(description="The variant's name, shown in status.")]
    accelerators: Annotated[
        tuple[Vocabulary, ...],
        Field(
            min_length=1,
            max_length=32,
            description='Families or profiles it runs on; "*" is any accelerator, "cpu" none.',
        ),
    ]
    format: Annotated[
        Vocabulary,
        Field(description="The artifact's format (python, onnx, …); with the profile it decides Triton's backend."),
    ]
    source: Annotated[
        Source,
        Field(
            description="The artifact.",
            json_schema_extra=rules(
                (
                    "has(self.sha256) != self.uri.startsWith('oci://')",
                    "spec.variants.source: sha256 is required (`littoral digest` prints it), but not of oci://… itself",
                )
            ),
        ),
    ]
    slice: Annotated[SliceRequest, Field(description="Overrides spec.slice field by field.")] = SliceRequest()
    requires: Annotated[
        Mapping[Vocabulary, VersionRange],
        Field(
            max_length=8,
            description="Versions it needs: jetpack, driver, cann of the machine, tensorrt and the like of the image; "
            '"6.2" (and what refines it) or a range such as ">=6,<7".',
        ),
    ] = {}
    virtual_npu: Annotated[
        bool,
        Field(
            alias="virtualNPU",
            description="The .om was built with atc --virtual_type=1, without which it does not run on a vNPU.",
        ),
    ] = False
    latency: Annotated[Latency | None, Field(description="As measured; placement.maxLatency goes by it.")] = None


class Toleration(ApiModel):
    """A core/v1 Toleration for taints of the node that placement must not shy at."""

    key: Annotated[str, Field(max_length=317, description="The taint's key; empty with Exists matches all.")] = ""
    operator: Annotated[Literal["Exists", "Equal"], Field(description="Exists or Equal.")] = "Equal"
    value: Annotated[str, Field(max_length=63, description="The taint's value, for Equal.")] = ""
    effect: Annotated[
        Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"],
        Field(description="The taint's effect; empty is any."),
    ] = ""


class Placement(ApiModel):
    """Where replicas may go."""

    mode: Annotated[
        Literal["Replicas", "PerNode"],
        Field(description="Replicas: spec.replicas of them. PerNode: one on each node that fits; replicas is ignored."),
    ] = "Replicas"
    pools: Annotated[tuple[Name, ...], Field(max_length=64, description="Pools it may use; empty means all.")] = ()
    node_selector: Annotated[
        Mapping[LabelKey, LabelValue], Field(max_length=16, description="Labels that the Node must have.")
    ] = {}
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16, description="Taints it may ignore.")] = ()
    spread: Annotated[
        LabelKey | None,
        Field(
            description="Node label over whose values replicas are spread first, such as topology.kubernetes.io/zone."
        ),
    ] = None
    max_latency: Annotated[
        Duration | None,
        Field(description="Only variants whose measured p99, at no more compute than asked, is within this."),
    ] = None
    priority_class_name: Annotated[
        str,
        Field(
            max_length=253,
            description="PriorityClass of its pods; the higher value is placed first. Littoral preempts nothing.",
        ),
    ] = ""


class Server(ApiModel):
    """With whom it shares a Triton server."""

    group: Annotated[
        Name | None,
        Field(description="Models of one namespace and group that land on a node share one slice and one server."),
    ] = None


class SliceReference(ApiModel):
    """A GPUSlice of the same namespace."""

    name: Annotated[Name, Field(description="Its name.")]


class Ports(ApiModel):
    """Ports of the server."""

    http: Annotated[int, Field(ge=1, le=65535, description="HTTP.")] = HTTP_PORT
    grpc: Annotated[int, Field(ge=1, le=65535, description="gRPC.")] = GRPC_PORT
    metrics: Annotated[int, Field(ge=1, le=65535, description="Prometheus metrics.")] = METRICS_PORT


class HostResources(ApiModel):
    """What the server needs of the machine beside its accelerator."""

    cpu: Annotated[Quantity | None, Field(description="Cores that are requested; no limit.")] = None
    memory: Annotated[Quantity | None, Field(description="Node memory that is requested; no limit.")] = None


class Serving(ApiModel):
    """How it is served."""

    model_name: Annotated[
        str,
        Field(
            max_length=128,
            pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*)?$",
            description="What clients call it. Default: the object's name.",
        ),
    ] = ""
    image: Annotated[
        str,
        Field(max_length=512, pattern=r"^\S*$", description="Triton image in place of the catalogue's."),
    ] = ""
    network: Annotated[
        Literal["Pod", "HostPort", "Host"],
        Field(
            description="Pod: reached by the Service alone. HostPort: the node's own ports lead to it as well. "
            "Host: it runs in the node's network."
        ),
    ] = "Pod"
    ports: Annotated[Ports, Field(description="Its ports on the node, for HostPort and Host.")] = Ports()
    resources: Annotated[HostResources, Field(description="What it needs of the machine beside its accelerator.")] = (
        HostResources()
    )
    startup_timeout: Annotated[
        Duration, Field(description="How long fetching and loading may take before an update is put back.")
    ] = "10m"


class InferenceModelSpec(ApiModel):
    """What shall serve, and where."""

    version: Annotated[str, Field(max_length=63, description="A label for people; part of the revision.")] = ""
    variants: Annotated[
        tuple[Variant, ...],
        Field(
            min_length=1,
            max_length=16,
            description="Tried in order on each candidate node; the first that fits its accelerator is used.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    slice: Annotated[
        SliceRequest, Field(description="What each replica needs, where the variant does not say otherwise.")
    ] = SliceRequest()
    slice_ref: Annotated[
        SliceReference | None,
        Field(description="A GPUSlice that was written to reserve capacity, to serve on; replicas must be 1."),
    ] = None
    server: Annotated[Server, Field(description="With whom it shares a server.")] = Server()
    replicas: Annotated[int, Field(ge=0, le=10000, description="How many, under placement.mode Replicas.")] = 1
    placement: Annotated[Placement, Field(description="Where replicas may go.")] = Placement()
    serving: Annotated[Serving, Field(description="How it is served.")] = Serving()
    paused: Annotated[
        bool,
        Field(
            description="An update starts no further node while true. What it brings is prefetched meanwhile, so that "
            "little is left to do afterwards."
        ),
    ] = False

    def request(self, variant: Variant) -> SliceRequest:
        """What a replica of this variant needs: the variant's fields over the spec's over the defaults (0, None)."""
        mine, common = variant.slice, self.slice
        return SliceRequest(
            memory=mine.memory or common.memory or "0",
            compute=mine.compute if mine.compute is not None else common.compute or 0,
            isolation=mine.isolation or common.isolation or "None",
        )


class NodeServing(ApiModel):
    """One replica: where it is and how it does."""

    node: Annotated[str, Field(max_length=253, description="The node.")]
    slice: Annotated[str, Field(max_length=63, description="The GPUSlice that pays for it.")] = ""
    variant: Annotated[str, Field(max_length=63, description="The variant it serves.")] = ""
    why: Annotated[str, Field(max_length=512, description="Why this variant.")] = ""
    revision: Annotated[str, Field(max_length=63, description="The revision it serves.")] = ""
    updated: Annotated[bool, Field(description="That is the revision that the spec asks for.")] = False
    ready: Annotated[bool, Field(description="It answers, or answered when its node was last seen.")] = False
    connected: Annotated[bool, Field(description="Its node is connected.")] = True
    address: Annotated[
        str, Field(max_length=128, description="Where it is called on the node's own network, for HostPort and Host.")
    ] = ""
    message: Annotated[str, Field(max_length=512, description="What it waits for.")] = ""


class Failure(ApiModel):
    """The last thing that went wrong, kept until an update succeeds."""

    node: Annotated[str, Field(max_length=253, description="The node.")] = ""
    revision: Annotated[str, Field(max_length=63, description="The revision.")] = ""
    reason: Annotated[str, Field(max_length=128, description="The cause in one word.")]
    message: Annotated[
        str, Field(max_length=2048, description="The cause in one sentence, Triton's own where there is one.")
    ] = ""
    time: Annotated[datetime, Field(description="When it was seen.")]


class InferenceModelStatus(ApiModel):
    """Is it serving, where, and why not."""

    observed_generation: Annotated[int | None, Field(ge=0, description="The spec generation this status is about.")] = (
        None
    )
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            description="Ready, explained by Placed, Fetched, Loaded and NodesConnected; Stalled for what never heals.",
        ),
    ] = ()
    url: Annotated[str, Field(max_length=512, description="Where clients inside the cluster call it (HTTP).")] = ""
    revision: Annotated[str, Field(max_length=63, description="The revision that the spec asks for.")] = ""
    last_good_revision: Annotated[
        str, Field(max_length=63, description="The last revision that was ready everywhere.")
    ] = ""
    failed_revisions: Annotated[
        Mapping[RevisionName, FailureNote],
        Field(max_length=MAX_FAILED, description="Revisions that were given up, with why; none is tried again."),
    ] = {}
    replicas: Annotated[int, Field(ge=0, description="Replicas placed.")] = 0
    wanted_replicas: Annotated[int, Field(ge=0, description="Replicas asked for.")] = 0
    ready_replicas: Annotated[int, Field(ge=0, description="Replicas that answer, on connected nodes.")] = 0
    updated_replicas: Annotated[int, Field(ge=0, description="Replicas at the revision that the spec asks for.")] = 0
    offline_replicas: Annotated[int, Field(ge=0, description="Replicas on nodes that are offline.")] = 0
    selector: Annotated[str, Field(max_length=512, description="Label selector of its pods, for autoscalers.")] = ""
    nodes: Annotated[
        tuple[NodeServing, ...],
        Field(max_length=MAX_NODES_LISTED, description="Its replicas, up to a hundred of them."),
    ] = ()
    last_failure: Annotated[Failure | None, Field(description="The last thing that went wrong.")] = None


class InferenceModel(ApiModel):
    """A model served by NVIDIA Triton on edge nodes: the right variant on each, on a fraction of its accelerator."""

    metadata: Metadata
    spec: Annotated[InferenceModelSpec, Field(description="What shall serve, and where.")]
    status: Annotated[InferenceModelStatus, Field(description="Is it serving, where, and why not.")] = (
        InferenceModelStatus()
    )

    @property
    def model_name(self) -> str:
        """What clients call it."""
        return self.spec.serving.model_name or self.metadata.name

    @property
    def refresh(self) -> str:
        """What `littoral rollout refresh` last wrote; part of the revision."""
        return self.metadata.annotations.get(ANNOTATION_REFRESH, "")


DEFAULT_STATUS: Final = pending_conditions("Ready", "Placed", "Fetched", "Loaded", "NodesConnected")
COLUMNS: Final = (
    ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status", 0),
    ("Serving", "integer", ".status.readyReplicas", 0),
    ("Wanted", "integer", ".status.wantedReplicas", 0),
    ("Offline", "integer", ".status.offlineReplicas", 0),
    ("Reason", "string", ".status.conditions[?(@.type=='Ready')].reason", 0),
    ("Version", "string", ".spec.version", 0),
    ("URL", "string", ".status.url", 1),
    ("Message", "string", ".status.conditions[?(@.type=='Ready')].message", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)
RULES: Final = rules(
    (
        f"self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= {MAX_NAME}",
        f"metadata.name becomes a Service's name: a lower case letter, then such, digits and '-'; {MAX_NAME} at most",
    ),
    (
        "self.spec.variants.all(v, !('cpu' in v.accelerators) || v.format != 'tensorrt_plan')",
        "spec.variants: a tensorrt_plan needs an NVIDIA accelerator, it cannot run on cpu",
    ),
    (
        "self.spec.variants.all(v, !('*' in v.accelerators) || v.format != 'tensorrt_plan')",
        "spec.variants: a tensorrt_plan is built for one kind of accelerator: name it in accelerators in place of '*'",
    ),
    (
        (
            "(has(self.spec.slice) && has(self.spec.slice.memory)) || "
            "self.spec.variants.all(v, has(v.slice) && has(v.slice.memory))"
        ),
        "spec.slice.memory or the variant's slice.memory is required: what is not declared cannot be kept free",
    ),
    (
        (
            "!has(self.spec.sliceRef) || ((!has(self.spec.replicas) || self.spec.replicas <= 1) && "
            "(!has(self.spec.placement) || !has(self.spec.placement.mode) || self.spec.placement.mode == 'Replicas'))"
        ),
        "spec.sliceRef: one slice holds one server: replicas must be 1 (or 0) and placement.mode Replicas",
    ),
    (
        "!has(self.spec.sliceRef) || !has(self.spec.server) || !has(self.spec.server.group)",
        "spec.sliceRef and spec.server.group exclude each other: a group makes its own slice on each node",
    ),
    (
        (
            "!has(self.spec.serving) || !has(self.spec.serving.ports) || "
            "(self.spec.serving.ports.http != self.spec.serving.ports.grpc && "
            "self.spec.serving.ports.http != self.spec.serving.ports.metrics && "
            "self.spec.serving.ports.grpc != self.spec.serving.ports.metrics)"
        ),
        "spec.serving.ports: http, grpc and metrics must be three different ports",
    ),
)
