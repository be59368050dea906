"""The names Littoral goes by in a cluster: API group, labels, annotations, containers, paths. Each stands here once."""

from typing import Final

GROUP: Final = "littoral.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
MANAGER: Final = "littoral"
"""Field manager of every write, and the value of app.kubernetes.io/managed-by on every child."""

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_PART_OF: Final = "app.kubernetes.io/part-of"

LABEL_MODEL: Final = f"{GROUP}/model"
"""On slices, Deployments, pods, Services, ControllerRevisions: the InferenceModel's name (same namespace)."""
LABEL_SLICE: Final = f"{GROUP}/slice"
"""On Deployments and pods: the GPUSlice that pays for them (same namespace, same name as the Deployment)."""
LABEL_NODE: Final = f"{GROUP}/node"
"""On slices and Deployments: the node, where its name fits a label value; the allocation is the truth."""
LABEL_REVISION: Final = f"{GROUP}/revision"
"""On Deployments and pods: the name of the ControllerRevision whose frozen template they run."""
LABEL_PROFILE: Final = f"{GROUP}/profile"
"""On a Node: the accelerator profile, overriding what its other labels say."""
LABEL_POOL: Final = f"{GROUP}/pool"
"""On a Node: its pool."""

LABEL_ENDPOINTS_BY: Final = "endpointslice.kubernetes.io/managed-by"
"""On EndpointSlices: who writes them. Kubernetes copies a Service's labels to its own, so no other label tells ours."""
LABEL_GROUP: Final = f"{GROUP}/group"
"""On the slices, Deployments and pods of a shared server: spec.server.group of the models that it serves."""
LABEL_STACK: Final = f"{GROUP}/stack"
"""On a Node: what is installed there, as COMPONENT-VERSION, for example jetpack-6.2 (jetpack, driver or cann)."""

LABEL_PREFETCH: Final = f"{GROUP}/prefetch"
"""On a prefetch Job and its pod: the GPUSlice whose next revision it brings to the node."""
LABEL_REQUIRE_SIGNATURE: Final = f"{GROUP}/require-signature"
"""On a Namespace, "true": no model of it is loaded unless its artifact is signed by a trusted key."""
ANNOTATION_CACHE_QUOTA: Final = f"{GROUP}/model-cache-quota"
"""On a Namespace: how much of each node's disk its models may take, a quantity of bytes."""

ANNOTATION_GRANT: Final = f"{GROUP}/grant"
"""On pods: their slice's allocation without times, as JSON: what the ledger charges while the pod exists."""
ANNOTATION_ASKED: Final = f"{GROUP}/asked"
"""On a replica's GPUSlice: from which figures of the model its spec was drawn (a hash)."""
ANNOTATION_REFRESH: Final = f"{GROUP}/refresh"
"""On an InferenceModel, written by `littoral rollout refresh`: part of the revision."""

ANNOTATION_PREVIOUS: Final = f"{GROUP}/previous-revision"
"""On a Deployment: the last revision that answered here; what an update that fails is put back to."""

FETCH_CONTAINER: Final = "fetch"
SERVER_CONTAINER: Final = "triton"
MODEL_CONTAINER_PREFIX: Final = "model-"
"""Of a shared server: before the name of the model that a container stands for."""

CACHE_HOST_PATH: Final = "/var/lib/littoral"
"""On every node: one folder for each namespace below `namespaces/`, named by the namespace's UID."""
CACHE_CLAIM: Final = "littoral-models"
"""The PersistentVolumeClaim that each namespace with a model has."""
CACHE_MOUNT: Final = "/var/lib/littoral/cache"
"""Where the fetch container (read-write) and Triton (read-only) see the namespace's folder of their node."""
CACHE_ROOTS: Final = f"{CACHE_HOST_PATH}/namespaces"
"""On every node: the folder that holds the namespaces' folders."""
TRUSTED_KEYS: Final = "littoral-trusted-keys"
"""The ConfigMap of a namespace whose data are public keys (PEM): who may write it decides whose models are loaded."""
SECRETS_MOUNT: Final = "/etc/littoral/secrets"
"""In the fetch container: a folder for each Secret that a source names, by its name."""
SETTINGS_MOUNT: Final = "/etc/littoral/settings"
"""In the fetch container: a folder for each ConfigMap that a source names, by its name."""
KEYS_MOUNT: Final = "/etc/littoral/trusted-keys"
"""In the fetch container, where a model is signed: the trusted keys."""
REPOSITORY_MOUNT: Final = "/models"
"""The emptyDir that the fetch container lays out as a Triton model repository."""

HTTP_PORT: Final = 8000
GRPC_PORT: Final = 8001
METRICS_PORT: Final = 8002

PRIORITY_CLASS: Final = "littoral-serving"
OPERATOR_NAMESPACE: Final = "littoral-system"
SERVICE_ACCOUNT: Final = "littoral-operator"
CATALOGUE_CONFIGMAP: Final = "littoral-catalogue"
"""The ConfigMap in the operator's namespace whose data, one YAML document a key, extends the catalogue. One name, so
that the operator's role reads this ConfigMap and no other."""
LEASE_NAME: Final = "littoral-operator"
