"""Files run no code, downloads have checksums, and packages are pinned."""

import ast
import re
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
                assert "weights_only=True" in map(ast.unparse, node.keywords), f"{path}:{node.lineno}"


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


def locked() -> dict[str, list[str]]:
    """The pinned versions of each package in requirements.lock."""
    found: dict[str, list[str]] = {}
    for part in (REPOSITORY / "requirements.lock").read_text().replace("\\\n", " ").splitlines():
        words, *sums = part.split("--hash=")
        if words.strip() and not words.startswith("#"):
            requirement = Requirement(words.strip())
            (only,) = requirement.specifier
            assert only.operator == "==", requirement
            assert sums, f"{requirement} has no checksum"
            assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", checksum.strip()) for checksum in sums), requirement
            found.setdefault(canonicalize_name(requirement.name), []).append(only.version)
    return found


def required(extra: str) -> list[Requirement]:
    """The project's own requirements with those of an extra and of the extras that it names."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    found = [Requirement(text) for text in project["dependencies"]]
    waiting = [extra]
    while waiting:
        for requirement in map(Requirement, project["optional-dependencies"][waiting.pop()]):
            if requirement.name == project["name"]:
                waiting += requirement.extras
            else:
                found.append(requirement)
    return found


def test_every_package_is_pinned_with_its_checksums() -> None:
    lock, requirements = locked(), required("dev")
    assert len(requirements) > 30
    assert len(lock) > 100
    for requirement in requirements:
        versions = lock.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement} is not pinned"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), requirement
