"""What a Jetson says about itself, and which profile and which JetPack that is.

No label names a Jetson: gpu-feature-discovery does not run there (NVIDIA/k8s-device-plugin#984). Its device tree does,
by the part number of the module (`compatible`: nvidia,p3767-0000) and by a product name (`model`), and the file
nv_tegra_release names the release of Jetson Linux (L4T). A Report of these is what a node's probe answers with.

A report comes from a node and is a claim: anything else than a report reads as None.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

MAX_BYTES: Final = 4096
"""What the kubelet keeps of one container's termination message."""
_MAX_TEXT: Final = 256
_MAX_PARTS: Final = 16

MODULES: Final = {
    "p3701-0004": "jetson-agx-orin-32gb",
    "p3701-0005": "jetson-agx-orin-64gb",
    "p3767-0000": "jetson-orin-nx-16gb",
    "p3767-0001": "jetson-orin-nx-8gb",
    "p3767-0003": "jetson-orin-nano-8gb",
    "p3767-0004": "jetson-orin-nano-4gb",
    "p3767-0005": "jetson-orin-nano-8gb",  # of the developer kit
    "p2888-0003": "jetson-agx-xavier-32gb",
    "p2888-0004": "jetson-agx-xavier-32gb",
    "p2888-0005": "jetson-agx-xavier-64gb",
    "p3668-0000": "jetson-xavier-nx-8gb",  # of the developer kit
    "p3668-0001": "jetson-xavier-nx-8gb",
    "p3668-0003": "jetson-xavier-nx-16gb",
    "p3448-0000": "jetson-nano",  # of the developer kit
    "p3448-0002": "jetson-nano",
}
"""Profiles by the module's part number. Source: Jetson Linux Developer Guide, "Jetson EEPROM Layout" and "Quick Start"
(devices by module and SKU)."""

_PRODUCTS: Final[tuple[tuple[str, dict[int, str]], ...]] = (
    ("AGX Orin", {32: "jetson-agx-orin-32gb", 64: "jetson-agx-orin-64gb"}),
    ("Orin NX", {8: "jetson-orin-nx-8gb", 16: "jetson-orin-nx-16gb"}),
    ("Orin Nano", {4: "jetson-orin-nano-4gb", 8: "jetson-orin-nano-8gb"}),
    ("AGX Xavier", {32: "jetson-agx-xavier-32gb", 64: "jetson-agx-xavier-64gb"}),
    ("Xavier NX", {8: "jetson-xavier-nx-8gb", 16: "jetson-xavier-nx-16gb"}),
    ("Jetson Nano", {4: "jetson-nano"}),
)
"""Profiles by product and GiB, for a device tree that names no module, or one that was made with more than one size
(p3701-0000, of the first AGX Orin developer kits). What Linux counts is always less than the nominal size."""
_UNLIKE: Final = "Industrial"
"""Modules that have their products' names and other figures."""

JETPACK: Final = {
    "38.2.0": "7.0", "38.2.1": "7.0", "38.2.2": "7.0",
    "36.4.7": "6.2.1", "36.4.4": "6.2.1", "36.4.3": "6.2", "36.4.0": "6.1", "36.3.0": "6.0",
    "35.6.2": "5.1.5", "35.6.1": "5.1.5", "35.6.0": "5.1.4", "35.5.0": "5.1.3", "35.4.1": "5.1.2", "35.3.1": "5.1.1",
    "35.2.1": "5.1", "35.1.0": "5.0.2",
    "32.7.6": "4.6.6", "32.7.5": "4.6.5", "32.7.4": "4.6.4", "32.7.3": "4.6.3", "32.7.2": "4.6.2", "32.7.1": "4.6.1",
    "32.6.1": "4.6", "32.5.2": "4.5.1", "32.5.1": "4.5.1", "32.5.0": "4.5", "32.4.4": "4.4.1", "32.4.3": "4.4",
}  # fmt: skip
"""JetPack by the release of Jetson Linux, previews left out. Source: NVIDIA's JetPack and Jetson Linux Archives."""
_LINES: Final = {"38": "7", "36": "6", "35": "5", "32": "4"}
"""The JetPack line of a release that is not in the table: enough to choose a Triton image."""
_RELEASE: Final = re.compile(r"#\s*R(\d{1,3})\s*\(release\),\s*REVISION:\s*(\d{1,3}(?:\.\d{1,3})?)")
_MODULE: Final = re.compile(r"p\d{4}-\d{4}")


@dataclass(frozen=True, slots=True)
class Report:
    """What stands on a machine; empty where there is no such file."""

    model: str = ""
    """/sys/firmware/devicetree/base/model."""
    compatible: tuple[str, ...] = ()
    """/sys/firmware/devicetree/base/compatible, the most particular first."""
    release: str = ""
    """The first line of /etc/nv_tegra_release."""
    machine: str = ""
    """As uname says it: aarch64."""
    memory: int = 0
    """MiB that Linux counts."""

    def dump(self) -> str:
        """The report as JSON of at most MAX_BYTES bytes."""
        cut: dict[str, Any] = {
            key: value[:_MAX_TEXT] if isinstance(value, str) else value for key, value in asdict(self).items()
        }
        cut["compatible"] = [part[: _MAX_TEXT // 4] for part in self.compatible[:_MAX_PARTS]]
        text = json.dumps(cut, separators=(",", ":"))
        return text if len(text) <= MAX_BYTES else json.dumps({**cut, "compatible": [], "model": "", "release": ""})

    @property
    def module(self) -> str:
        """The part number of a module that has a profile; empty where the device tree names none."""
        named = (part for text in self.compatible for part in _MODULE.findall(text))
        return next((part for part in named if part in MODULES), "")

    @property
    def profile(self) -> str:
        """The catalogue's name of this Jetson; empty where it is none, or none that the catalogue has."""
        if self.module:
            return MODULES[self.module]
        sizes = next((sizes for product, sizes in _PRODUCTS if product in self.model), {})
        nominal = next((size for size in sorted(sizes) if size * 1024 >= self.memory), None)
        return sizes[nominal] if nominal and self.memory and _UNLIKE not in self.model else ""

    @property
    def l4t(self) -> str:
        """The release of Jetson Linux, as 36.4.3; empty where the file does not say."""
        found = _RELEASE.match(self.release)
        if found is None:
            return ""
        revision, _, patch = found[2].partition(".")
        return f"{found[1]}.{revision}.{patch or 0}"

    @property
    def jetpack(self) -> str:
        """The JetPack of that release, or its line alone ("6") where the release is not in the table."""
        return JETPACK.get(self.l4t, _LINES.get(self.l4t.partition(".")[0], ""))


def parse(text: str) -> Report | None:
    """The report in a termination message; None where it is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or set(data) != set(Report.__dataclass_fields__):
        return None
    texts = (data["model"], data["release"], data["machine"], *_parts(data["compatible"]))
    if not all(isinstance(each, str) for each in texts) or not isinstance(data["memory"], int):
        return None
    return Report(
        model=_clean(data["model"]),
        compatible=tuple(_clean(part) for part in data["compatible"]),
        release=_clean(data["release"]),
        machine=_clean(data["machine"]),
        memory=max(0, data["memory"]),
    )


def _parts(value: Any) -> list[Any]:
    """The parts of a list; what is no list is one part that is no text."""
    return value if isinstance(value, list) else [None]


def _clean(text: str) -> str:
    """Without control characters: it is shown on a terminal."""
    return "".join(char for char in text[:_MAX_TEXT] if char.isprintable())
