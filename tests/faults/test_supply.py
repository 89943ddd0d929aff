"""Files run no code, downloads have checksums, and packages are pinned."""

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

from gantrain.metrics import inception
from tests.conftest import REPOSITORY

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

FOLDERS = ("gantrain", "scripts", "configs")
TEXTS = (".py", ".yaml", ".j2", ".js", ".css")
PLAIN_HTTP = re.compile(r"http://(?!www\.w3\.org/|localhost\b|127\.0\.0\.1\b)")


def sources(*suffixes: str) -> Iterator[tuple[Path, str]]:
    for folder in FOLDERS:
        for path in (REPOSITORY / folder).rglob("*"):
            if path.suffix in suffixes:
                yield path, path.read_text(encoding="utf-8")


def test_checkpoints_are_loaded_without_running_code() -> None:
    """Ruff's S rules (pyproject.toml) refuse pickle, eval, shells and unsafe YAML; this one they lack."""
    for path, text in sources(".py"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = [
                    word for word in node.keywords if word.arg == "weights_only" and ast.unparse(word.value) == "True"
                ]
                assert safe, f"{path}:{node.lineno}"


def test_addresses_are_https() -> None:
    for path, text in sources(*TEXTS):
        assert not PLAIN_HTTP.search(text), path


def test_downloads_use_https_and_a_checksum() -> None:
    assert URL_INCEPTION_V3.startswith("https://")
    assert re.fullmatch(r"[0-9a-f]{64}", inception.DOWNLOAD_SHA256)
    assert inception.DOWNLOAD_SHA256[:8] == Path(URL_INCEPTION_V3).stem.rsplit("-", 1)[-1]
    cifar10 = torchvision.datasets.CIFAR10
    assert cifar10.url.startswith("https://")
    assert re.fullmatch(r"[0-9a-f]{32}", cifar10.tgz_md5)


def test_a_download_that_is_not_the_pinned_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch's own comparison, of a file served from the disk; nothing stays of it."""
    served = tmp_path / "served.pth"
    torch.save({}, served)
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3", served.as_uri())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(inception.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(inception.WeightsError, match="invalid hash value"):
        inception.find_inception_weights(None)
    assert not list((tmp_path / "hub").rglob("*.pth"))


def test_a_torchscript_of_another_checksum_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(other))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(torch.jit, "load", refuse)
    with pytest.raises(inception.WeightsError, match="cannot be loaded as weights"):
        inception.find_inception_weights(str(other))


def locked(text: str) -> dict[str, list[tuple[Requirement, int]]]:
    """By canonical name: each pinned requirement, with how many SHA-256 sums it has."""
    found: dict[str, list[tuple[Requirement, int]]] = {}
    for part in text.replace("\\\n", " ").splitlines():
        words, _, sums = part.partition("--hash=")
        if words.strip() and not words.startswith("#"):
            requirement = Requirement(words.strip())
            count = len(re.findall(r"sha256:[0-9a-f]{64}(?=\s|$)", sums))
            found.setdefault(canonicalize_name(requirement.name), []).append((requirement, count))
    return found


def pinned(requirement: Requirement) -> str:
    (only,) = requirement.specifier
    assert only.operator == "==", requirement
    return only.version


def asked(extra: str, project: dict) -> list[Requirement]:  # type: ignore[type-arg]
    """The project's own requirements with those of an extra and of the extras that it names."""
    found = [Requirement(text) for text in project["dependencies"]]
    waiting = [extra]
    while waiting:
        for text in project["optional-dependencies"][waiting.pop()]:
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) == project["name"]:
                waiting += requirement.extras
            else:
                found.append(requirement)
    return found


def lacks(project: dict, lock: dict[str, list[tuple[Requirement, int]]]) -> list[str]:  # type: ignore[type-arg]
    """What the lock does not hold, or holds in a version or without a sum that will not do."""
    without = [str(pin) for pins in lock.values() for pin, sums in pins if not sums]
    for requirement in asked("dev", project):
        pins = lock.get(canonicalize_name(requirement.name), [])
        if not pins or not all(requirement.specifier.contains(pinned(pin), prereleases=True) for pin, _ in pins):
            without.append(str(requirement))
    return without


def test_every_package_is_pinned_with_its_checksums() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    text = (REPOSITORY / "requirements.lock").read_text()
    lock = locked(text)
    assert len(asked("dev", project)) > 30
    assert len(lock) > 100
    assert lacks(project, lock) == []
    assert "git+" not in text
    assert "://" not in text
    assert lacks(project, {name: pins for name, pins in lock.items() if name != "jinja2"}) == ["jinja2<4,>=3.1"]
    bare = locked("torch==2.0.0\njinja2==3.1.6 --hash=sha256:" + 64 * "a")
    assert "torch==2.0.0" in lacks(project, bare)
    assert "torch>=2.11" in lacks(project, bare)
    assert not any("jinja2" in word for word in lacks(project, bare))
