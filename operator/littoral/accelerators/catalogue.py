"""The catalogue of accelerators: data, not code. One entry, a profile, for each kind of device.

A profile says what the device is (family, memory), how a Node that has it is recognised, by which mechanisms it can be
shared, and with which Triton it is served (its stack). Adding a chip that shares in a known way is data alone; users
add theirs in the ConfigMap littoral-catalogue in the operator's namespace.

An entry with a word that is not understood is refused whole: a typing error in `overhead` must not become a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import ValidationError

from littoral.accelerators import check
from littoral.accelerators.profile import CPU, Platform, Profile


@dataclass(frozen=True, slots=True)
class Problem:
    """An entry that was refused: where it stands, which it is, and what is wrong. A text as a whole has no name."""

    origin: str
    entry: str
    line: int
    message: str

    def __str__(self) -> str:
        what = f"profile {self.entry!r} is refused: " if self.entry else ""
        return f"{self.origin}, line {self.line}: {what}{self.message}"


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The profiles by name."""

    profiles: Mapping[str, Profile]
    _platforms: dict[tuple[str, tuple[tuple[str, str], ...]], Platform] = field(default_factory=dict, repr=False)

    def get(self, name: str) -> Profile | None:
        """The profile of this name."""
        return self.profiles.get(name)

    def matching(self, word: str) -> tuple[Profile, ...]:
        """The profiles that a variant's or a slice's word means; none where nobody knows the word."""
        return tuple(profile for profile in self.profiles.values() if profile.answers_to(word))

    def platform(self, profile: Profile, installed: Mapping[str, str] | None = None) -> Platform:
        """Profile.platform, one value for one question: what is worked out about it may be kept by identity."""
        key = (profile.name, tuple(sorted((installed or {}).items())))
        known = self._platforms.get(key)
        if known is None or known.profile is not profile:
            known = self._platforms[key] = profile.platform(installed)
        return known

    @property
    def cpu(self) -> Profile:
        """The profile of the node's own cores and memory."""
        return self.profiles[CPU]


@cache
def load() -> Catalogue:
    """The catalogue as shipped. Raises ValueError if the package's own file is broken."""
    text = resources.files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8")
    catalogue, problems = extend(Catalogue(MappingProxyType({})), "catalogue.yaml", text)
    if problems:
        raise ValueError("; ".join(str(problem) for problem in problems))
    return catalogue


def extend(catalogue: Catalogue, origin: str, text: str) -> tuple[Catalogue, tuple[Problem, ...]]:
    """The catalogue with the profiles of a YAML text (`profiles: [...]`) added, in place of those of the same name.

    A broken entry is refused and named; the others are taken. `origin` is what problems call the text.
    """
    profiles = dict(catalogue.profiles)
    problems = []
    for line, raw in _entries(text):
        if isinstance(raw, str):
            problems.append(Problem(origin, "", line, raw))
            continue
        name = str(raw.get("name", ""))
        try:
            profile = Profile.model_validate(raw)
        except ValidationError as error:
            problems.append(Problem(origin, name, line, _sentence(error)))
            continue
        if wrong := "; ".join(check.problems(profile)):
            problems.append(Problem(origin, name, line, wrong))
            continue
        profiles[profile.name] = profile
    return Catalogue(MappingProxyType(profiles)), tuple(problems)


def schema() -> dict[str, Any]:
    """The JSON Schema of a text of profiles, for editors; what fields must be to one another it does not say."""
    its = Profile.model_json_schema(by_alias=True)
    definitions = its.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Littoral's catalogue of accelerators",
        "type": "object",
        "required": ["profiles"],
        "properties": {"profiles": {"type": "array", "items": {"$ref": "#/$defs/Profile"}}},
        "$defs": {**definitions, "Profile": its},
    }


def _entries(text: str) -> list[tuple[int, dict[str, Any] | str]]:
    """Each entry below `profiles` with its line, or a sentence where there is none to read."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return []
        pairs = root.value if isinstance(root, yaml.MappingNode) else []
        items = next((value for key, value in pairs if key.value == "profiles"), None)
        if not isinstance(items, yaml.SequenceNode):
            return [(root.start_mark.line + 1, "the text must be a mapping with a list `profiles`")]
        entries: list[tuple[int, dict[str, Any] | str]] = []
        for item in items.value:
            raw = loader.construct_object(item, deep=True)
            line = item.start_mark.line + 1
            entries.append((line, raw if isinstance(raw, dict) else "an entry of `profiles` must be a mapping"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return [((mark.line + 1) if mark else 1, f"the text is no YAML: {getattr(error, 'problem', error)}")]
    else:
        return entries
    finally:
        loader.dispose()


def _sentence(error: ValidationError) -> str:
    """What is wrong, by field, without pydantic's links."""
    parts = []
    for detail in error.errors():
        where = ".".join(str(part) for part in detail["loc"])
        what = "no such field" if detail["type"] == "extra_forbidden" else detail["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {what}" if where else what)
    return "; ".join(parts)
