"""Revisions of shared servers: the revisions of their models, and what they were resolved to together.

Named by a hash over what decides each model's own revision and over the profile, so a model that joins, leaves or
changes makes another one. What each model was at in it is kept, so that an update knows which models it changes.
"""

from collections.abc import Mapping

from littoral.accelerators.profile import Platform
from littoral.placement.groups import Group
from littoral.placement.results import Assignment
from littoral.triton import namespace_policy, revision, server_template
from littoral.triton.namespace_policy import NamespacePolicy
from littoral.triton.revision import Frozen
from littoral.triton.server_template import Part

_LONGEST_PREFIX = 52
"""With a dash and ten digits it still is a name that failed revisions can be remembered by."""


def parts(group: Group, assignment: Assignment) -> tuple[Part, ...]:
    """The models that the group's server serves at its place, oldest first; those that changed meanwhile are left."""
    variants = {served.model: served.variant for served in assignment.members}
    return tuple(
        Part(model, variant)
        for model in group.members
        for variant in model.spec.variants
        if variants.get(model.metadata.name) == variant.name
    )


def revision_name(group: Group, assignment: Assignment) -> str:
    """The name of the ControllerRevision of the group's server at this place."""
    name, of = group.key[1], parts(group, assignment)
    payloads = {part.model.metadata.name: revision.payload(part.model, part.variant) for part in of}
    platform = f"{assignment.profile}/{assignment.stack}" if assignment.stack else assignment.profile
    digest = revision.digest({"group": name, "payloads": payloads, "profile": platform})
    return f"{name[:_LONGEST_PREFIX]}-{digest}"


def members(group: Group, assignment: Assignment) -> dict[str, str]:
    """Each model's own revision at this place."""
    return {
        part.model.metadata.name: revision.digest(revision.payload(part.model, part.variant))
        for part in parts(group, assignment)
    }


def freeze(
    group: Group,
    assignment: Assignment,
    platform: Platform,
    *,
    fetch_image: str,
    number: int,
    policy: NamespacePolicy = namespace_policy.NONE,
) -> Frozen:
    """Resolve the group's server on a platform with the present catalogue, fetch image and policy of the namespace.

    Raises Unservable where the stack has no image or no backend for one of the variants, or the policy forbids one.
    """
    name, of = revision_name(group, assignment), parts(group, assignment)
    return Frozen(
        name=name,
        number=number,
        variant=",".join(f"{served.model}={served.variant}" for served in assignment.members),
        profile=platform.profile.name,
        node_memory=platform.profile.node_memory,
        startup_timeout=server_template.startup_seconds(of),
        template=server_template.build(
            group.key[1], of, platform, fetch_image=fetch_image, revision=name, policy=policy
        ),
        members=members(group, assignment),
    )


def changed(before: Frozen | None, after: Frozen | None) -> tuple[str, ...]:
    """The models that an update gives another revision.

    One that joins, or stays as it was, is not among them: that it does not answer is no failure of the update, and no
    reason to take the others back.
    """
    if before is None or after is None:
        return ()
    return tuple(sorted(name for name, at in after.members.items() if before.members.get(name, at) != at))


def announcement(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Why the server restarts: "model c joins, model a changes"."""
    verbs = {
        "joins": after.keys() - before.keys(),
        "leaves": before.keys() - after.keys(),
        "changes": {name for name in after.keys() & before.keys() if after[name] != before[name]},
    }
    told = [f"model {name} {verb}" for verb, names in verbs.items() for name in sorted(names)]
    return ", ".join(told) or "its figures or its template change"
