"""A placement snapshot out of manifests: what `littoral plan` and `littoral explain -f` work on, without a cluster.

Objects come in layers, as they would be applied: an object of a later layer replaces that of an earlier one and keeps
what the cluster gave it (uid, age, status). What an object becomes is what the operator itself makes of it
(littoral.controller.kinds); other kinds are counted and left out.

An object that a cluster has admitted already (it has a uid) and that cannot be read is named and left out, as the
operator does; one that was written by hand is bad input.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from littoral.accelerators import catalogue as shipped
from littoral.accelerators.catalogue import Catalogue
from littoral.accelerators.discovery import selected
from littoral.api import group
from littoral.api.edgenode import EdgeNode
from littoral.api.workload import NodeFacts
from littoral.cli import assumed, schema
from littoral.cli.documents import BadInputError, Document
from littoral.controller import kinds
from littoral.placement import exclusions
from littoral.placement.snapshot import Snapshot

Layer = Mapping[tuple[str, str, str, str], Document]
"""Objects by (apiVersion, kind, namespace, name)."""

_KINDS: Final = {(kind.resource.api_version, kind.resource.kind): kind for kind in kinds.KINDS}
_CHILDREN: Final = {(kinds.PODS.api_version, "Pod"), (kinds.DEPLOYMENTS.api_version, "Deployment")}
_READ: Final = _CHILDREN | {
    (resource.api_version, resource.kind)
    for resource in (
        kinds.NODES, kinds.NAMESPACES, kinds.CONFIGMAPS, kinds.RUNTIMECLASSES, kinds.PRIORITYCLASSES,
        kinds.EDGENODES, kinds.MODELS, kinds.SLICES,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """What the manifests come to."""

    snapshot: Snapshot
    assumed: Mapping[str, str]
    """By node: what no manifest says of it and was taken for granted."""
    notes: tuple[str, ...] = ()
    """What could not be read, and goes without."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Objects of no concern to placement, by kind."""


def layer(documents: Iterable[Document]) -> Layer:
    """The objects of one `-f`. Raises BadInputError where one is there twice or has no name."""
    found: dict[tuple[str, str, str, str], Document] = {}
    complaints = []
    for document in documents:
        if not document.named:
            version, kind = document.body["apiVersion"], document.body["kind"]
            if _is_ours(version) or (version, kind) in _READ:
                complaints.append(f"{document.at()}: {kind} without a name: metadata.name is missing")
            continue
        placed = _in_namespace(document)
        meta = placed.body["metadata"]
        key = (placed.body["apiVersion"], placed.body["kind"], meta.get("namespace", ""), meta["name"])
        if key in found:
            complaints.append(f"{placed.at()}: {placed.name} is there twice, first in {found[key].at()}")
        found.setdefault(key, placed)
    if complaints:
        raise BadInputError(complaints)
    return found


def overlay(layers: Sequence[Layer]) -> Layer:
    """The objects as if the layers had been applied one after another."""
    merged: dict[tuple[str, str, str, str], Document] = {}
    for each in layers:
        for key, document in each.items():
            merged[key] = _applied(merged[key], document) if key in merged else document
    return merged


def world(objects: Layer, *, now: datetime | None = None, complete: bool = False) -> World:
    """The snapshot of these objects. Raises BadInputError with all that is wrong.

    `now` says which exclusions still hold; None takes all that the manifests show. `complete` says that these are all
    RuntimeClasses that the cluster has.
    """
    found = _Reader(objects).world()
    if not any((found.snapshot.edge_nodes, found.snapshot.nodes, found.snapshot.models, found.snapshot.slices)):
        raise BadInputError(["nothing to plan: the input has no Node, EdgeNode, InferenceModel or GPUSlice"])
    snapshot = found.snapshot
    if now is not None:
        snapshot = replace(snapshot, exclusions=exclusions.by_node(snapshot.exclusions, now))
    if complete and snapshot.runtime_classes is None:
        snapshot = replace(snapshot, runtime_classes=frozenset())
    return replace(found, snapshot=snapshot)


class _Reader:
    """Collects the values, and what is wrong, over one pass."""

    def __init__(self, objects: Layer) -> None:
        self._objects = objects
        self._values: dict[str, dict[kinds.Key, Any]] = {}
        self._complaints: list[str] = []
        self._notes: list[str] = []
        self._refused: dict[kinds.Key, str] = {}
        self._assumed: dict[str, str] = {}
        self._ignored: Counter[str] = Counter()

    def world(self) -> World:
        catalogue = self._catalogue()
        for (version, kind, *key), document in sorted(self._objects.items(), key=lambda item: item[0]):
            if kind != "Node":
                self._take(version, kind, (key[0], key[1]), document)
        nodes, edges = self._nodes(catalogue)
        if self._complaints:
            raise BadInputError(self._complaints)
        every = self._values.get
        namespaces = {name: meta.labels for (_, name), meta in every("Namespace", {}).items()}
        for namespace in {key[0] for kind in ("InferenceModel", "GPUSlice") for key in every(kind, {})}:
            namespaces.setdefault(namespace, {})
        classes = every("RuntimeClass")
        snapshot = Snapshot(
            catalogue=catalogue,
            nodes=nodes,
            edge_nodes=edges,
            slices=every("GPUSlice", {}),
            models=every("InferenceModel", {}),
            pods=every("Pod", {}),
            deployments={key: live.facts for key, live in every("Deployment", {}).items()},
            # The API server writes this label on every Namespace.
            namespaces={name: {"kubernetes.io/metadata.name": name, **own} for name, own in namespaces.items()},
            priorities={name: each.value for (_, name), each in every("PriorityClass", {}).items()},
            runtime_classes=None if classes is None else frozenset(name for _, name in classes),
            exclusions={name: edge.status.exclusions for name, edge in edges.items() if edge.status.exclusions},
            refused=self._refused,
        )
        return World(snapshot, self._assumed, tuple(self._notes), self._ignored)

    def _take(self, version: str, kind: str, key: kinds.Key, document: Document) -> None:
        ours = _is_ours(version)
        relevant = ours or ((version, kind) in _READ and _is_read(kind, document.body))
        if not relevant:
            self._ignored[kind] += 1
            return
        if kind == "ConfigMap":
            return  # read before all else
        value = self._parsed(document) if ours else self._projected(_KINDS[version, kind], document)
        if value is not None:
            self._values.setdefault(kind, {})[key] = value

    def _parsed(self, document: Document) -> Any | None:
        """An object of ours; None where it is refused."""
        stored = _stored(document.body)
        try:
            return schema.parse(document.body, strict=not stored)
        except schema.RefusedError as error:
            sentences = [document.complaint(way, message) for way, message in error.complaints]
        if not stored:
            self._complaints += sentences
            return None
        self._notes += sentences
        if document.body["kind"] == "InferenceModel":
            meta = document.body["metadata"]
            self._refused[meta["namespace"], meta["name"]] = sentences[0]
        return None

    def _projected(self, kind: kinds.Kind, document: Document) -> Any | None:
        """An object of another kind; None where it cannot be read."""
        try:
            return kind.project(document.body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
            sentence = document.complaint((), f"it cannot be read: {what}")
            (self._notes if _stored(document.body) else self._complaints).append(sentence)
            return None

    def _catalogue(self) -> Catalogue:
        merged = shipped.load()
        for (_, kind, _, name), document in sorted(self._objects.items(), key=lambda item: item[0]):
            if kind != "ConfigMap" or name != group.CATALOGUE_CONFIGMAP:
                continue
            for key, text in sorted((document.body.get("data") or {}).items()):
                merged, problems = shipped.extend(merged, f"{document.at(('data', key))}: key {key}", str(text))
                sentences = [str(problem) for problem in problems]
                self._notes += sentences if _stored(document.body) else []
                self._complaints += [] if _stored(document.body) else sentences
        return merged

    def _nodes(self, catalogue: Catalogue) -> tuple[dict[str, NodeFacts], dict[str, EdgeNode]]:
        """Nodes and EdgeNodes, each with its counterpart: the operator makes the second, a kubelet the first."""
        edges: dict[str, EdgeNode] = {name: edge for (_, name), edge in self._values.get("EdgeNode", {}).items()}
        nodes: dict[str, NodeFacts] = {}
        kind = _KINDS[kinds.NODES.api_version, "Node"]
        for (_, what, _, name), document in sorted(self._objects.items(), key=lambda item: item[0]):
            if what != "Node":
                continue
            status, said = document.body.get("status") or {}, ""
            if not _stored(document.body):  # else what it leaves out is not known, as to the operator
                status, said = assumed.node_status(document.body, edges.get(name), catalogue)
            facts = self._projected(kind, replace(document, body={**document.body, "status": status}))
            if facts is None:
                continue
            if selected(facts, catalogue):
                edges.setdefault(name, EdgeNode.model_validate({"metadata": {"name": name}}))
            nodes[name] = facts
            if said:
                self._assumed[name] = said
        for name in sorted(edges.keys() - nodes.keys()):
            if nodes and edges[name].status.conditions:
                continue  # of a cluster in which its Node is missing: offline
            body = {"metadata": {"name": name}}
            status, said = assumed.node_status(body, edges[name], catalogue)
            nodes[name] = kind.project({**body, "status": status})
            self._assumed[name] = f"no Node of this name is given: {said}"
        return nodes, edges


def _is_ours(version: str) -> bool:
    return version.partition("/")[0] == group.GROUP


def _is_read(kind: str, body: Mapping[str, Any]) -> bool:
    meta = body["metadata"]
    if kind in {"Pod", "Deployment"}:
        return (meta.get("labels") or {}).get(group.LABEL_MANAGED_BY) == group.MANAGER
    return kind != "ConfigMap" or meta["name"] == group.CATALOGUE_CONFIGMAP


def _stored(body: Mapping[str, Any]) -> bool:
    """Whether a cluster has admitted it."""
    return bool(body["metadata"].get("uid"))


def _in_namespace(document: Document) -> Document:
    """The object with the namespace that it would be applied to."""
    body, key = document.body, (document.body["apiVersion"], document.body["kind"])
    kind = _KINDS.get(key)
    if kind is None:
        return document
    meta = dict(body["metadata"])
    if not kind.resource.namespaced:
        meta.pop("namespace", None)
    elif not meta.get("namespace"):
        meta["namespace"] = "default"
    if key in _CHILDREN:
        meta.setdefault("uid", "")
    return replace(document, body={**body, "metadata": meta})


def _applied(before: Document, after: Document) -> Document:
    """The later object with what the cluster gave the earlier one."""
    old, new = before.body["metadata"], after.body["metadata"]
    meta = {**old, **new}
    for words in ("labels", "annotations"):
        meta[words] = {**(old.get(words) or {}), **(new.get(words) or {})}
    if before.body.get("spec") != after.body.get("spec") and "generation" in old:
        meta["generation"] = max(old["generation"] + 1, new.get("generation", 0))
    body = {**after.body, "metadata": meta}
    if "status" in before.body and "status" not in after.body:
        body["status"] = before.body["status"]
    return replace(after, body=body)
