"""No code runs that came in a file, nothing is fetched without a checksum, nothing calls home, packages are pinned."""

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
ALLOWED = {
    ("gantrain.metrics/inception.py", "torch.jit.load"): "the FID Inception's TorchScript, once its checksum agrees",
    ("gantrain.metrics/inception.py", "torch.hub.download_url_to_file"): "the FID Inception's weights, with SHA-256",
    (
        "gantrain/data/cifar10.py",
        "torchvision.datasets.utils.download_and_extract_archive",
    ): "CIFAR-10 from torchvision's address, with its MD5",
    ("gantrain/data/cifar10.py", "import socket"): "a time limit for that download",
    ("gantrain/files.py", "import socket"): "gethostname: who holds a folder",
    ("gantrain/run_io/status.py", "import socket"): "gethostname: which machine a run's process is on",
}
"""What would be found, where, and why it may stand there."""
UNPICKLING = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
TALKING = {
    "socket",
    "ssl",
    "http",
    "urllib",
    "urllib3",
    "requests",
    "httpx",
    "aiohttp",
    "ftplib",
    "smtplib",
    "telnetlib",
}
TALKING |= {"xmlrpc", "socketserver", "websockets", "wandb", "mlflow", "sentry_sdk", "opentelemetry", "posthog"}
RUNNING = {"eval", "exec", "__import__", "builtins.eval", "builtins.exec", "os.system", "os.popen", "pty.spawn"}
RUNNING |= {"torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "pandas.read_pickle"}
RUNNING |= {"yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"}
FETCHING = {"torch.hub.download_url_to_file", "torch.hub.load_state_dict_from_url"}
FETCHING |= {"torchvision.datasets.utils.download_url", "torchvision.datasets.utils.download_and_extract_archive"}
OF_TEXT = {".yaml", ".j2", ".js", ".css"}
PLAIN_HTTP = re.compile(r"http://(?!www\.w3\.org/|localhost\b|127\.0\.0\.1\b)")


def findings_in(source: str) -> set[str]:
    """What a module's syntax tree has that this project does not do; comments are no part of it."""
    tree = ast.parse(source)
    names = dict(_names_of(tree))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            roots = {module.partition(".")[0] for module in modules} if getattr(node, "level", 0) == 0 else set()
            found |= {f"import {root}" for root in roots & (UNPICKLING | TALKING)}
        elif isinstance(node, ast.Call):
            found |= set(_of_call(node, _dotted(node.func, names)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and PLAIN_HTTP.search(node.value):
            found.add("http://")
    return found


def _names_of(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What each imported name stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _of_call(node: ast.Call, name: str) -> Iterator[str]:
    given = {word.arg: word.value for word in node.keywords}

    def says(key: str, *values: object) -> bool:
        value = given.get(key)
        return isinstance(value, ast.Constant) and value.value in values

    if name in RUNNING or name in UNPICKLING:
        yield name
    if name in ("torch.load", "torch.serialization.load") and not says("weights_only", True):
        yield "torch.load"
    if "shell" in given and not says("shell", False):
        yield "shell=True"
    if "allow_pickle" in given and not says("allow_pickle", False):
        yield "allow_pickle=True"
    if name in ("yaml.load", "yaml.load_all"):
        loader = given.get("Loader", node.args[1] if len(node.args) > 1 else None)
        if loader is None or not ast.unparse(loader).endswith("SafeLoader"):
            yield "yaml.load"
    if name in FETCHING or name.endswith(".urlopen") or name.endswith(".urlretrieve"):
        yield name
    if "download" in given and not says("download", False):
        yield name


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("import torch\ntorch.load('x')", "torch.load"),
        ("from torch import load as get\nget('x', weights_only=False)", "torch.load"),
        ("import torch as t\nt.load('x', weights_only=flag)", "torch.load"),
        ("import pickle", "import pickle"),
        ("from marshal import loads", "import marshal"),
        ("def f():\n    import dill.source", "import dill"),
        ("eval('1')", "eval"),
        ("exec(code)", "exec"),
        ("import os\nos.system('ls')", "os.system"),
        ("from os import system as s\ns('ls')", "os.system"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "shell=True"),
        ("import subprocess\nsubprocess.run('ls', shell=flag)", "shell=True"),
        ("import yaml\nyaml.load(text)", "yaml.load"),
        ("import yaml\nyaml.load(text, yaml.Loader)", "yaml.load"),
        ("from yaml import unsafe_load\nunsafe_load(text)", "yaml.unsafe_load"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle=True"),
        ("import torch\ntorch.jit.load('x')", "torch.jit.load"),
        ("import torch.hub\ntorch.hub.load('a/b', 'c')", "torch.hub.load"),
        ("URL = 'http://example.org/weights'", "http://"),
        ("f'http://{host}/'", "http://"),
        ("import requests", "import requests"),
        ("from urllib.request import urlopen", "import urllib"),
        ("from urllib import request\nrequest.urlopen(u)", "urllib.request.urlopen"),
        ("import socket", "import socket"),
        ("from http.client import HTTPSConnection", "import http"),
        ("from torchvision.datasets import MNIST\nMNIST('.', download=True)", "torchvision.datasets.MNIST"),
        ("import torch\ntorch.hub.download_url_to_file(u, f)", "torch.hub.download_url_to_file"),
    ],
)
def test_what_is_forbidden_is_found(source: str, finding: str) -> None:
    assert finding in findings_in(source)


def test_what_is_allowed_is_not_found() -> None:
    source = (
        "# http://example.org, torch.load(x), eval(x)\n"
        "import numpy as np, subprocess, torch, yaml\n"
        "from gantrain.atomic_io import load_safely\n"
        "torch.load('x', weights_only=True)\n"
        "np.load('x')\nnp.load('x', allow_pickle=False)\n"
        "yaml.safe_load(text)\nyaml.load(text, Loader=yaml.CSafeLoader)\n"
        "subprocess.run(['ls'], shell=False)\n"
        "network.eval()\nre.compile('x')\njson.load(file)\n"
        "XML = 'http://www.w3.org/2000/svg'\nHERE = 'http://localhost:8000'\nIT = 'https://example.org'\n"
        "CIFAR10(root, download=False)\n"
    )
    assert findings_in(source) == set()


def test_nothing_forbidden_stands_in_the_project() -> None:
    found = {
        (str(path.relative_to(REPOSITORY)), finding)
        for folder in FOLDERS
        for path in (REPOSITORY / folder).rglob("*.py")
        for finding in findings_in(path.read_text(encoding="utf-8"))
    }
    assert found == set(ALLOWED)


def test_texts_beside_the_modules_name_no_plain_http() -> None:
    """Configurations, templates, styles and scripts of pages."""
    texts = [p for folder in FOLDERS for p in (REPOSITORY / folder).rglob("*") if p.suffix in OF_TEXT]
    assert len(texts) > 30
    for path in texts:
        assert not PLAIN_HTTP.search(path.read_text(encoding="utf-8")), path


def test_what_is_downloaded_comes_by_https_with_a_checksum() -> None:
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
    monkeypatch.setattr(inception, "URL_INCEPTION_V3", served.as_uri())
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
    with pytest.raises(inception.WeightsError, match="cannot be read as weights"):
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
