"""Triton releases (YY.MM, as in the tags of NVIDIA's images) and the arguments that each knows.

tritonserver ends on an argument that it does not know, so one that came with a later release is left out.
"""

import re
from typing import Final

from littoral.accelerators.profile import Stack
from littoral.api.inferencemodel import Serving

_TAG: Final = re.compile(r":([0-9]{2}\.[0-9]{2})(?:-[^@/:]*)?(?:@[^@/]*)?$")


def of_image(image: str) -> str:
    """The release that an image's tag names (":26.07-py3"); empty where it names none."""
    found = _TAG.search(image)
    return found[1] if found else ""


def of(serving: Serving, stack: Stack) -> str:
    """The release of the Triton that is run: the stack's, or that of the user's own image; empty: unknown."""
    return of_image(serving.image) if serving.image else stack.triton


def arguments(stack: Stack, release: str) -> list[str]:
    """The stack's arguments that this release knows; an unknown release is given none that has a first one."""
    return [
        argument.text
        for argument in stack.arguments
        if argument.since is None or (release and _order(release) >= _order(argument.since))
    ]


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))
