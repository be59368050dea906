"""What must hold between the fields of a catalogue entry: small checks, each of which yields sentences.

A sentence names the field and says what to write; an entry with any is refused whole.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from littoral.accelerators import versions
from littoral.accelerators.profile import ANY, CPU, Profile, Stack

_POD_SECURITY: Final = {
    "appArmorProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seLinuxOptions",
    "seccompProfile",
    "supplementalGroups",
    "supplementalGroupsPolicy",
}
"""Fields of a pod's securityContext that the Pod Security level `baseline` has room for (Kubernetes' Pod Security
Standards). What is missing: sysctls, and what belongs to Windows."""


def problems(profile: Profile) -> Iterator[str]:
    """A sentence for each thing that is wrong with the entry, beyond what one field alone can tell."""
    for check in _CHECKS:
        yield from check(profile)


def _names(profile: Profile) -> Iterator[str]:
    if ANY in (profile.name, profile.family):
        yield 'name and family: "*" stands for any accelerator and cannot be the name of one'
    if (CPU in (profile.name, profile.family)) != profile.is_cpu or ("cpu" in profile.sharing) != profile.is_cpu:
        yield "sharing: [cpu] is for the profile and family named cpu, and for nothing else"
    elif profile.is_cpu and profile.name != CPU:
        yield "name: there is one profile of the node's own cores, and its name is cpu"


def _device(profile: Profile) -> Iterator[str]:
    if not profile.is_cpu and not profile.resources and profile.sharing != ("runtime",):
        yield "resources: name the extended resource that the device plugin advertises"
    if profile.memory is None and not (profile.unified or profile.is_cpu):
        yield "memory: required, unless `unified: true` says that device memory is node memory"
    for word in _repeated(profile.sharing):
        yield f"sharing: {word} is listed twice"
    if both := set(profile.sharing) & set(profile.unsupported):
        yield f"unsupported: {', '.join(sorted(both))} stands in sharing as well"
    for word, reason in profile.unsupported.items():
        if not reason.strip():
            yield f"unsupported.{word}: say why in a sentence"


def _power_modes(profile: Profile) -> Iterator[str]:
    for name in _repeated(mode.name for mode in profile.power_modes):
        yield f"powerModes: {name} is listed twice"


def _partitions(profile: Profile) -> Iterator[str]:
    """A template that is larger than the device could never be granted, and hides a slip in either figure."""
    if ("vnpu" in profile.sharing) != (profile.partitions is not None):
        yield "partitions: list the templates of a device that is shared as vnpu, and of no other"
    if profile.partitions is None:
        return
    templates = profile.partitions.templates
    for name in _repeated(template.name for template in templates):
        yield f"partitions.templates: {name} is listed twice"
    for resource in _repeated((*(template.resource for template in templates), *profile.resources)):
        yield f"partitions.templates: {resource} must be the resource of one template, and not the whole device's"
    memory = profile.memory_mib
    for template in templates:
        for word, has, of in (
            ("cores", template.cores, profile.partitions.cores),
            ("cpus", template.cpus, profile.partitions.cpus),
            ("MiB of memory", template.memory_mib, memory),
        ):
            if of is not None and has > of:
                yield f"partitions.templates: {template.name} has {has} {word}, the whole device {of}"


def _stacks(profile: Profile) -> Iterator[str]:
    names = [stack.name for stack in profile.stacks]
    if len(set(names)) != len(names):
        yield "stacks: give each a name of its own"
    for stack, following in zip(profile.stacks, profile.stacks[1:], strict=False):
        if not stack.when:
            yield f"stacks: {stack.name or 'one'} has no `when` and always matches, so {following.name} is never used"
    for stack in profile.stacks:
        yield from _stack(stack)


def _stack(stack: Stack) -> Iterator[str]:
    for component, asked in stack.when.items():
        try:
            versions.check(asked)
        except ValueError as error:
            yield f"stacks.when.{component}: {error}"
    if stack.image is None and not stack.image_reason:
        yield "stacks.image: name the Triton image, or say in imageReason why there is none"
    if stack.image is not None and stack.image_reason:
        yield "stacks.imageReason: there is an image, so there is no reason why there is none"
    yield from _security(stack.security_context)


def _security(context: Any) -> Iterator[str]:
    """Pods pass the Pod Security level baseline; HAMi's webhook refuses privileged ones besides."""
    if "privileged" in context:
        yield (
            "stacks.securityContext.privileged: a served model's pod is never privileged (Pod Security's level "
            "baseline and HAMi's webhook refuse it): leave device files to the device plugin or the runtime"
        )
    for word in sorted(context.keys() - _POD_SECURITY - {"privileged"}):
        yield f"stacks.securityContext.{word}: no field of a pod's that a stack may set"
    for word in ("seccompProfile", "appArmorProfile"):
        if isinstance(context.get(word), dict) and context[word].get("type") == "Unconfined":
            yield f"stacks.securityContext.{word}: Unconfined is refused by Pod Security's level baseline"


def _repeated(words: Iterable[str]) -> list[str]:
    return sorted(word for word, times in Counter(words).items() if times > 1)


_CHECKS: Final[tuple[Callable[[Profile], Iterator[str]], ...]] = (_names, _device, _power_modes, _partitions, _stacks)
