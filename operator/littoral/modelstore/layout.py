"""The Triton model repository, made of links into the cache.

::

    <repository>/<model>/config.pbtxt        a file: the artifact's own and what it lacks of the generated one
    <repository>/<model>/<anything else>     links to what lies beside it in the artifact, or
    <repository>/<model>/1/model.<suffix>    a link to the single file, named by its format

An artifact of the layout Model is one model: that file, or a folder with its version folders. One of the layout
Repository is a folder of such folders, each a model with a config.pbtxt of its own, and one of them is what clients
call; since a shared server has one repository, no two artifacts may bring a model of one name.

What is laid out for an artifact appears when all of it is ready. Triton may be told to load whatever is there, so a
failure leaves nothing and a run begins with nothing: what an earlier run of the same pod left may point at artifacts
that are gone.
"""

import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from littoral.modelstore import config, pbtxt
from littoral.modelstore.cache import Artifact
from littoral.modelstore.errors import LayoutInvalid
from littoral.modelstore.request import BUNDLE, ModelRequest

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
_NAMED: Final = 8
"""Folders that a message names; all others are counted."""
_ZIP: Final = b"PK\x03\x04"
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_log: Final = logging.getLogger(__name__)


class Repository:
    """The repository at `path`, laid out anew. Every method may raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path / ".draft"
        self._brought: dict[str, str] = {}
        """By the name of a model in the repository: that of the model whose artifact brought it."""
        self._begun = False

    def begin(self) -> None:
        """Remove what an earlier run left; once."""
        if not self._begun:
            for left in self._path.iterdir():
                # Only what is a folder here: a link would lead out.
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                else:
                    left.unlink()
            self._begun = True

    def lay_out(self, model: ModelRequest, artifact: Artifact) -> None:
        """Make `model` loadable, and with it what else its artifact holds. Raises LayoutInvalid, OSError."""
        self.begin()
        with self._drafting():
            if model.layout == "Repository":
                _Layout(model).models(artifact.content, self._draft)
            elif artifact.content.is_dir():
                _Layout(model).folder(artifact.content, self._draft / model.name)
            else:
                _Layout(model).file(artifact.content, self._draft / model.name)
            drafts = sorted(self._draft.iterdir())
            for draft in drafts:
                self._is_new(draft.name, model)
            for draft in drafts:
                draft.rename(self._path / draft.name)
                self._brought[draft.name] = model.name

    def _is_new(self, name: str, model: ModelRequest) -> None:
        if (other := self._brought.get(name)) is not None:
            raise LayoutInvalid(
                f"model {model.name}: its artifact and that of model {other} both bring a model {name!a}, and they "
                "share one server; rename one of the two, or serve them in different groups"
            )

    @contextmanager
    def _drafting(self) -> Iterator[None]:
        self._draft.mkdir(mode=0o755)
        try:
            yield
        finally:
            shutil.rmtree(self._draft)


class _Layout:
    """How one request's artifact is laid out; `content` is in the cache, `target` is what is made of it."""

    def __init__(self, model: ModelRequest) -> None:
        self._model = model

    def file(self, content: Path, target: Path) -> None:
        """Lay out a single file as version 1 of the model."""
        name = MODEL_FILES.get(self._model.format)
        if name is None:
            raise self._invalid(
                f"a single file is laid out for the formats {', '.join(sorted(MODEL_FILES))}, not for "
                f"{self._model.format or 'none'!r}; pack a model directory (1/ and what it needs) as a tar archive"
            )
        with content.open("rb") as file:
            # TorchScript files are zip archives by nature.
            if file.read(len(_ZIP)) == _ZIP and self._model.format != "pytorch":
                raise self._invalid("the artifact is a zip archive; pack the model as .tar or .tar.gz")
        (target / "1").mkdir(mode=0o755, parents=True)
        (target / "1" / name).symlink_to(content)
        if self._model.config is not None:
            (target / CONFIG).write_text(self._model.config, encoding="utf-8")

    def folder(self, content: Path, target: Path) -> None:
        """Lay out a folder that holds version folders as the model.

        One that holds a single file instead is that file, as registries have it: an artifact of one layer is a folder.
        """
        own = self._config_of(content / CONFIG, self._model.name)
        if _versions(content):
            self._link(content, target)
        elif (only := _only_file(content)) and only.suffix == Path(MODEL_FILES.get(self._model.format, "")).suffix:
            _log.info("%s: the artifact is the file %a, laid out as version 1", self._model.name, only.name)
            self.file(only, target)
        else:
            raise self._invalid(_no_version(content))
        text = self._model.config if own is None else self._completed(own, self._model.name, only=None)
        if text is not None:
            (target / CONFIG).write_text(text, encoding="utf-8")

    def models(self, content: Path, target: Path) -> None:
        """Lay out each folder of a whole repository as a model; files beside them are nobody's."""
        if not content.is_dir():
            raise self._invalid("layout Repository needs a folder or an archive of folders, and the artifact is a file")
        # A folder whose name begins with a dot is a tool's, such as .git.
        folders = [path for path in sorted(content.iterdir()) if path.is_dir() and not path.name.startswith(".")]
        if self._model.name not in {folder.name for folder in folders}:
            found = ", ".join(ascii(folder.name) for folder in folders[:_NAMED]) or "none"
            found += f" and {len(folders) - _NAMED} more" if len(folders) > _NAMED else ""
            raise self._invalid(
                f"layout Repository needs a folder {self._model.name!a} at the artifact's root, since "
                f"serving.modelName says that clients call it so; the folders there: {found}"
            )
        for folder in folders:
            self._member(folder, target / folder.name)

    def _member(self, folder: Path, target: Path) -> None:
        if not _NAME.fullmatch(folder.name):
            raise self._invalid(f"{folder.name!a} cannot be a model's name: letters, digits, '_', '.', '-'")
        own = self._config_of(folder / CONFIG, folder.name)
        if own is None:
            raise self._invalid(f"{folder.name}/ has no {CONFIG}; in layout Repository each model brings its own")
        # Triton wants one of an ensemble, too, and an empty folder is lost by most ways to carry files.
        empty = config.is_ensemble(own) and not _versions(folder) and not (folder / "1").exists()
        if not empty and not _versions(folder):
            raise self._invalid(f"{folder.name}/ has no version folder ({folder.name}/1/)")
        self._link(folder, target)
        (target / CONFIG).write_text(self._completed(own, folder.name, only=config.ACCELERATOR), encoding="utf-8")
        if empty:
            (target / "1").mkdir(mode=0o755)

    def _link(self, content: Path, target: Path) -> None:
        target.mkdir(mode=0o755, parents=True)
        for entry in sorted(content.iterdir()):
            if entry.name != CONFIG:
                (target / entry.name).symlink_to(entry)

    def _config_of(self, path: Path, name: str) -> str | None:
        """Return the text of a model's own configuration, None where it has none."""
        where = f"the {CONFIG} of {name!a}"
        if not path.is_symlink() and not path.exists():
            return None
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_CONFIG:
            raise self._invalid(f"{where} must be a file of at most 1 MiB")
        try:
            text = path.read_text(encoding="utf-8")
            named = config.name(text)
        except UnicodeDecodeError:
            raise self._invalid(f"{where} is not text in UTF-8") from None
        except pbtxt.Malformed as error:
            raise self._invalid(f"{where} is not in protobuf's text format: {error}") from None
        if named not in {None, name}:
            raise self._invalid(f"{where} names the model {named!a}; the names must be equal, or the line be left out")
        return text

    def _completed(self, own: str, name: str, *, only: frozenset[str] | None) -> str:
        if self._model.config is None:
            return own
        text, added = config.complete(own, self._model.config, only=only)
        if added:
            _log.info("%s: its %s says nothing of %s: added for this accelerator", name, CONFIG, ", ".join(added))
        return text

    def _invalid(self, sentence: str) -> LayoutInvalid:
        return LayoutInvalid(f"model {self._model.name}: {sentence}")


def _versions(content: Path) -> bool:
    return any(_VERSION.fullmatch(entry.name) and entry.is_dir() for entry in content.iterdir())


def _only_file(content: Path) -> Path | None:
    """Return the one file that a folder holds beside the model's configuration and signature; None where it is more."""
    entries = [entry for entry in content.iterdir() if entry.name not in {CONFIG, BUNDLE}]
    return entries[0] if len(entries) == 1 and entries[0].is_file() and not entries[0].is_symlink() else None


def _no_version(content: Path) -> str:
    sentence = "the artifact has no version folder (1/) at its root"
    folders = [entry for entry in sorted(content.iterdir()) if entry.is_dir() and _versions(entry)]
    if len(folders) > 1:
        return f"{sentence}, but {len(folders)} folders that have one: for a whole repository set layout: Repository"
    if folders:
        nested = folders[0].name
        return f"{sentence}, but one in {nested!a}/; pack the folder's content: tar -C {nested} -cf model.tar ."
    return f"{sentence}; pack the content of a Triton model directory"
