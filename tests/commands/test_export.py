"""An exported generator draws the images of the checkpoint, by the code of its own model card."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from safetensors import safe_open

from gantrain.commands import export
from gantrain.commands.export import check_onnx, write_onnx
from gantrain.commands.options import parse_words
from gantrain.commands.trained import load_run
from gantrain.config import ConfigError, from_dict
from gantrain.networks import make_networks, sample_latent
from tests.commands.saved_runs import CLASSES, save_run, strengthen

Export = Callable[..., Path]


@pytest.fixture
def exported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Export:
    """Runs `gantrain export` in this process; it prints the difference of the ONNX file, the path and nothing else."""

    def run(folder: Path, *words: str, out: Path = tmp_path / "exported") -> Path:
        capfd.readouterr()
        export.run(parse_words(export.Options, "export", [f"run={folder}", f"out={out}", *words]))
        printed, err = capfd.readouterr()
        assert err == ""
        *before, path = printed.splitlines()
        assert len(before) <= 1
        assert all(line.startswith("ONNX Runtime's images differ from PyTorch's by at most ") for line in before)
        return Path(path)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("cond=projection", "model.prior=sphere"),
        ("model=poole", "model.width=2", "model.prior=uniform", "cond=acgan", "cond.generator=embedding"),
    ],
    ids=["plain", "conditional batch norm", "poole with an embedding"],
)
def test_the_code_of_the_model_card_draws_the_images_of_the_checkpoint(
    overrides: tuple[str, ...], tmp_path: Path, exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save_run(tmp_path / "run", *overrides)
    generator = load_run(run).networks.generator
    folder = exported(run)
    names = ["README.md", "config.yaml", "generator.onnx", "generator.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    by_gantrain, by_onnx = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(folder)
    found: dict[str, dict[str, Any]] = {"gantrain": {}, "onnx": {}}
    exec(by_gantrain, found["gantrain"])
    exec(by_onnx, found["onnx"])
    words = " ".join(overrides)
    labels = (torch.arange(16) % 4,) if "cond" in words else ()
    with torch.no_grad():
        wanted = {name: generator(torch.as_tensor(values["z"]), *labels) for name, values in found.items()}
    assert float(wanted["gantrain"].std(dim=0).mean()) > 0.02, "images that differ"
    assert torch.equal(found["gantrain"]["images"], wanted["gantrain"])
    np.testing.assert_allclose(found["onnx"]["images"], wanted["onnx"], atol=1e-4)
    low = 0.0 if "poole" in words else -1.0
    pixels = ((wanted["onnx"] - low) / (1 - low) * 255).round().permute(0, 2, 3, 1).numpy()
    assert found["onnx"]["pixels"].dtype == np.uint8
    assert float(np.abs(found["onnx"]["pixels"] - pixels).max()) <= 1
    if "sphere" in words:
        np.testing.assert_allclose(np.linalg.norm(found["onnx"]["z"], axis=1), 8**0.5, rtol=1e-5)
    if "uniform" in words:
        assert 0.9 < float(np.abs(found["onnx"]["z"]).max()) <= 1


NETWORKS: dict[str, dict[str, Any]] = {
    "sngan": {"name": "sngan"},
    "resnet, conditional": {"name": "resnet", "labels": "projection", "classes": 5},
    "dcgan, virtual, embedding": {
        "name": "dcgan",
        "g_norm": "virtual",
        "virtual_reference": 16,
        "labels": "acgan",
        "g_labels": "embedding",
        "classes": 5,
    },
    "dcgan, layer, dropout, 64 pixels": {"name": "dcgan", "g_norm": "layer", "g_dropout": 0.5, "image_size": 64},
    "poole, instance": {"name": "poole", "g_norm": "instance"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", NETWORKS)
def test_onnx_draws_the_images_of_pytorch_for_batches_of_any_size(case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pair = make_networks(**{"width": 2, "latent_dim": 6, "d_norm": "none"}, **NETWORKS[case])
    strengthen(pair.generator)
    source = torch.Generator().manual_seed(0)

    def inputs(count: int) -> dict[str, torch.Tensor]:
        z = sample_latent("normal", (count, 6), source)
        return {"z": z} | ({"labels": torch.randint(5, (count,), generator=source)} if pair.classes else {})

    if "virtual" in case:
        pair.generator.set_reference(*inputs(16).values())  # type: ignore[operator]
    pair.generator(*inputs(100).values())  # the running statistics of batch norm
    path = tmp_path / "generator.onnx"
    write_onnx(pair, path, {"prior": "normal"})
    assert check_onnx(pair, path) < 1e-4
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 19):
        given = inputs(count)
        with torch.no_grad():
            wanted = pair.generator(*given.values())
        found = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})[0]
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert float(wanted.std(dim=0).mean()) > 0.02, "images that differ"
    assert {entry.key: entry.value for entry in onnx.load(path).metadata_props} == {"prior": "normal"}
    assert str(Path.cwd()).encode() not in path.read_bytes()
    with torch.no_grad():
        list(pair.generator.parameters())[-1].add_(0.5)  # the last bias
    with pytest.raises(ConfigError, match=r"differ from PyTorch's by .* formats=safetensors leaves ONNX out"):
        check_onnx(pair, path)


def test_safetensors_holds_weights_and_metadata_without_onnx_installed(
    tmp_path: Path, exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    run = save_run(tmp_path / "run", "cond=projection", "loss.gen=kl", "metrics.inception_weights=/home/me/w.pt")
    trained = load_run(run, network="raw")
    folder = exported(run, "formats=safetensors", "network=raw")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.yaml", "generator.safetensors"]
    with safe_open(folder / "generator.safetensors", "pt") as file:
        metadata = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    torch.testing.assert_close(state, dict(trained.networks.generator.state_dict()), rtol=0, atol=0)
    assert metadata["objective"] == "disc=gan gen=kl"
    assert (metadata["step"], metadata["network"], metadata["prior"]) == ("2", "raw", "normal")
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert json.loads(metadata["image_range"]) == [-1, 1]
    config = from_dict(yaml.safe_load((folder / "config.yaml").read_text()))
    assert config.metrics.inception_weights == "w.pt"  # without the folder of this machine
    config.metrics.inception_weights = "/home/me/w.pt"
    assert config == trained.config
    card = (folder / "README.md").read_text()
    assert "onnx" not in card.lower()
    for words in ("disc=gan gen=kl", "2 generator steps", "without averaging", "ant, bee, cow, 007", "CC BY 4.0"):
        assert words in card
    assert "No metric was measured" in card  # of the raw network


def test_the_model_card_gives_metrics_with_their_protocol(tmp_path: Path, exported: Export) -> None:
    run = save_run(tmp_path / "run")
    card = (exported(run, "formats=safetensors", out=tmp_path / "a") / "README.md").read_text()
    assert "| `modes` | 12 | unknown |" in card
    rows = [{"step": 1, "kind": "train", "loss": 1.0}]
    for step, value in ((1, 11.0), (2, 12.0)):
        protocol = {"samples": 50, "network": "ema", "step": step}
        rows.append({"step": step, "kind": "metric", "name": "modes", "value": value, "protocol": protocol})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    card = (exported(run, "formats=safetensors", out=tmp_path / "b") / "README.md").read_text()
    assert "| `modes` | 12 | samples 50, step 2 |" in card
    assert "| `modes_kl` | 3.25 | unknown |" in card


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("formats=safetensor", "one or both of [safetensors, onnx]"),
        ("formats=[]", "one or both of"),
        ("out=taken", "will not be overwritten"),
        ("out=no/where", "create it first"),
        ("network=mean", "[ema, raw]"),
    ],
)
def test_unusable_options_are_refused(
    words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save_run(tmp_path / "run")
    (tmp_path / "taken").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(expected)):
        export.run(parse_words(export.Options, "export", [f"run={run}", words]))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["last.pt", "run", "taken"]


def test_a_failed_export_leaves_no_folder(tmp_path: Path, exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    run = save_run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "safetensors", None)
        with pytest.raises(ConfigError, match=r"needs safetensors.*'gantrain\[export\]'"):
            exported(run)

    def fail(*_: object) -> float:
        raise ConfigError("differ")

    monkeypatch.setattr(export, "write_onnx", lambda _, path, __: path.write_bytes(b"half"))
    monkeypatch.setattr(export, "check_onnx", fail)
    with pytest.raises(ConfigError, match="differ"):
        exported(run)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["last.pt", "run"]
