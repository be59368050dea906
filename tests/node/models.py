"""What the tests serve: a python-backend model that loads in a second, and its archives."""

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONFIG = """backend: "python"
max_batch_size: 0
input [ { name: "X", data_type: TYPE_INT32, dims: [ -1 ] } ]
output [ { name: "Y", data_type: TYPE_INT32, dims: [ -1 ] } ]
instance_group [ { count: 1, kind: KIND_CPU } ]
"""

CODE = """import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input({{"name": "X", "data_type": "TYPE_INT32", "dims": [-1]}})
        config.add_output({{"name": "Y", "data_type": "TYPE_INT32", "dims": [-1]}})
        config.set_max_batch_size(0)
        return config

    def initialize(self, args):
        {initialize}

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", x * {factor})]) for x in inputs]
"""


@dataclass(frozen=True)
class Artifact:
    """Bytes under a name, as a web server has them."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """What a manifest promises."""
        return hashlib.sha256(self.data).hexdigest()


def code(factor: int, initialize: str = "pass") -> bytes:
    """model.py of a model that multiplies X by `factor`; `initialize` is one statement run while it loads."""
    return CODE.format(factor=factor, initialize=initialize).encode()


def multiplier(factor: int, initialize: str = "pass") -> Artifact:
    """The archive of such a model."""
    files = {"config.pbtxt": CONFIG.encode(), "1/model.py": code(factor, initialize)}
    return archive(f"times-{factor}.tar", files)


def heavy(factor: int, mib: int) -> Artifact:
    """model.py of such a model with so many MiB of comments: a single file that takes a while on a slow link."""
    line = b"# " + b"x" * 1021 + b"\n"
    return Artifact(f"times-{factor}-heavy.py", code(factor) + line * (mib << 10))


def archive(name: str, files: Mapping[str, bytes]) -> Artifact:
    """A tar of these files, whatever their names say."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return Artifact(name, buffer.getvalue())


def variant(name: str, accelerators: Sequence[str], uri: str, sha256: str, **source: Any) -> dict[str, Any]:
    """One entry of spec.variants."""
    return {
        "name": name,
        "accelerators": list(accelerators),
        "format": "python",
        "source": {"uri": uri, "sha256": sha256, **source},
    }


def manifest(
    name: str, variants: Sequence[Mapping[str, Any]], *, node: str | None = None, **spec: Any
) -> dict[str, Any]:
    """An InferenceModel on `node`, or on every node that has a variant."""
    selector = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    return {
        "apiVersion": "littoral.dev/v1alpha1",
        "kind": "InferenceModel",
        "metadata": {"name": name},
        "spec": {
            "variants": list(variants),
            "slice": {"memory": "128Mi"},
            "placement": {"mode": "PerNode", **selector},
            "serving": {"startupTimeout": "2m"},
            **spec,
        },
    }
