"""The Triton model repository, made of links into the cache.

::

    <repository>/<model>/config.pbtxt        a file: the archive's own, else the generated one, else none
    <repository>/<model>/<anything else>     links to the root of the archive's content in the cache, or
    <repository>/<model>/1/model.<suffix>    a link to the single file, named by its format

A model's folder is made under a name that Triton is never told and renamed, so it is there wholly or not at all; one
that an earlier run of the same pod left is replaced.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from littoral.modelstore.cache import Artifact
from littoral.modelstore.errors import LayoutInvalid
from littoral.modelstore.request import ModelRequest

CONFIG: Final = "config.pbtxt"
MODEL_FILES: Final[Mapping[str, str]] = {
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "python": "model.py",
    "pytorch": "model.pt",
    "tensorflow_graphdef": "model.graphdef",
    "tensorrt_plan": "model.plan",
}
"""What Triton's backends look for in a version folder, by `format`, where a model is a single file."""

_MAX_CONFIG: Final = 1 << 20
_ZIP: Final = b"PK\x03\x04"
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_TOKEN: Final = re.compile(r"""#[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[{}\[\]<>:]|\w+""")


def lay_out(model: ModelRequest, artifact: Artifact, repository: Path) -> None:
    """Make `model` loadable from `repository`. Raises LayoutInvalid, OSError."""
    target, draft = repository / model.name, repository / f".{model.name}.draft"
    for left in (draft, target):
        if left.exists():
            shutil.rmtree(left)
    draft.mkdir(mode=0o755, parents=True)
    config = _link_folder(model, artifact, draft) if artifact.content.is_dir() else _link_file(model, artifact, draft)
    if config is not None:
        (draft / CONFIG).write_text(config, encoding="utf-8")
    draft.rename(target)


def _link_file(model: ModelRequest, artifact: Artifact, draft: Path) -> str | None:
    name = MODEL_FILES.get(model.format)
    if name is None:
        raise LayoutInvalid(
            f"model {model.name}: a single file is laid out for the formats {', '.join(sorted(MODEL_FILES))}, not for "
            f"{model.format or 'none'!r}; pack a model directory (1/ and what it needs) as a tar archive"
        )
    with artifact.content.open("rb") as file:
        # TorchScript files are zip archives by nature.
        if file.read(len(_ZIP)) == _ZIP and model.format != "pytorch":
            raise LayoutInvalid(f"model {model.name}: the artifact is a zip archive; pack the model as .tar or .tar.gz")
    (draft / "1").mkdir(mode=0o755)
    (draft / "1" / name).symlink_to(artifact.content)
    return model.config


def _link_folder(model: ModelRequest, artifact: Artifact, draft: Path) -> str | None:
    entries = sorted(artifact.content.iterdir())
    if not any(_VERSION.fullmatch(entry.name) and entry.is_dir() for entry in entries):
        raise LayoutInvalid(_no_version(model, entries))
    config = model.config
    for entry in entries:
        if entry.name == CONFIG:
            config = _own_config(model, entry)
        else:
            (draft / entry.name).symlink_to(entry)
    return config


def _no_version(model: ModelRequest, entries: list[Path]) -> str:
    sentence = f"model {model.name}: the archive has no version folder (1/) at its root"
    nested = next((entry.name for entry in entries if entry.is_dir() and (entry / "1").is_dir()), None)
    if nested is not None:
        return f"{sentence}, but one in {nested!a}/; pack the folder's content: tar -C {nested} -cf model.tar ."
    return f"{sentence}; pack the content of a Triton model directory"


def _own_config(model: ModelRequest, path: Path) -> str:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_CONFIG:
            raise LayoutInvalid(f"model {model.name}: the archive's {CONFIG} must be a file of at most 1 MiB")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise LayoutInvalid(f"model {model.name}: the archive's {CONFIG} is not text in UTF-8") from None
    name = config_name(text)
    if name not in {None, model.name}:
        raise LayoutInvalid(
            f"model {model.name}: the archive's {CONFIG} names the model {name!a}; the names must be equal, "
            "or the line be left out"
        )
    return text


def config_name(text: str) -> str | None:
    """Return the model's own name in a config.pbtxt (inputs and outputs have names too), or None."""
    depth, tokens = 0, [token for token in _TOKEN.findall(text) if not token.startswith("#")]
    for index, token in enumerate(tokens):
        if token in {"{", "[", "<"}:
            depth += 1
        elif token in {"}", "]", ">"}:
            depth -= 1
        elif depth == 0 and token == "name" and tokens[index + 1 : index + 2] == [":"]:  # noqa: S105 - a token of text
            return "".join(tokens[index + 2 : index + 3])[1:-1]
    return None
