"""An exported generator draws what the checkpoint's does, by the words of its own card."""

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
from gantrain.commands.onnx_file import check_onnx, write_onnx
from gantrain.commands.options import parse_words
from gantrain.commands.trained import load_run
from gantrain.config import ConfigError, from_dict
from gantrain.networks import make_networks, sample_latent
from tests.commands.saved_runs import CLASSES, save_run, strengthen

Export = Callable[..., Path]


@pytest.fixture
def exported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Export:
    """`gantrain export` in this process, into a new folder; it says two lines and nothing else."""

    def run(folder: Path, *words: str, out: Path = tmp_path / "exported") -> Path:
        capfd.readouterr()
        export.run(parse_words(export.Options, "export", [f"run={folder}", f"out={out}", *words]))
        said, err = capfd.readouterr()
        assert err == ""
        *of_onnx, path = said.splitlines()
        assert [re.sub(r"\S+$", "", line) for line in of_onnx] in (
            [],
            ["ONNX Runtime's images differ from PyTorch's by at most "],
        )
        return Path(path)

    return run


def codes(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)


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
def test_the_cards_code_draws_the_images_of_the_checkpoint(
    overrides: tuple[str, ...], tmp_path: Path, exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save_run(tmp_path / "run", *overrides)
    generator = load_run(run).networks.generator
    folder = exported(run)
    names = ["README.md", "config.yaml", "generator.onnx", "generator.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    by_gantrain, by_onnx = codes(folder)
    monkeypatch.chdir(folder)
    said: dict[str, Any] = {}
    exec(by_gantrain, said)
    labels = (torch.arange(16) % 4,) if "cond" in " ".join(overrides) else ()
    with torch.no_grad():
        wanted = generator(said["z"], *labels)
    assert float(wanted.std(dim=0).mean()) > 0.02, "images that differ"
    assert torch.equal(said["images"], wanted)
    told: dict[str, Any] = {}
    exec(by_onnx, told)
    with torch.no_grad():
        wanted = generator(torch.from_numpy(told["z"]), *labels)
    np.testing.assert_allclose(told["images"], wanted, atol=1e-4)
    low = -1.0 if "model=poole" not in overrides else 0.0
    pixels = ((wanted - low) / (1 - low) * 255).round().permute(0, 2, 3, 1).numpy()
    assert told["pixels"].dtype == np.uint8
    assert float(np.abs(told["pixels"] - pixels).max()) <= 1
    if "sphere" in " ".join(overrides):
        np.testing.assert_allclose(np.linalg.norm(told["z"], axis=1), 8**0.5, rtol=1e-5)
    if "uniform" in " ".join(overrides):
        assert 0.9 < float(np.abs(told["z"]).max()) <= 1


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
def test_onnx_draws_pytorchs_images_for_batches_of_any_size(case: str, tmp_path: Path) -> None:
    arguments = {"width": 2, "latent_dim": 6, "prior": "normal", "d_norm": "none", "image_size": 32, **NETWORKS[case]}
    torch.manual_seed(0)
    pair = make_networks(**arguments)
    strengthen(pair.generator)
    source = torch.Generator().manual_seed(0)
    if arguments.get("g_norm") == "virtual":
        pair.generator.set_reference(  # type: ignore[operator]
            sample_latent("normal", (16, 6), source), torch.randint(5, (16,)) if pair.classes else None
        )
    if pair.generator.training:  # statistics for batch norm
        labels = (torch.arange(100) % 5,) if pair.classes else ()
        pair.generator(sample_latent("normal", (100, 6), source), *labels)
    path = tmp_path / "generator.onnx"
    write_onnx(pair, path, {"prior": "normal"})
    assert check_onnx(pair, path) < 1e-4
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 19):
        z = sample_latent("normal", (count, 6), source)
        labels = (torch.randint(5, (count,), generator=source),) if pair.classes else ()
        with torch.no_grad():
            wanted = pair.generator(z, *labels)
        inputs = dict(zip(("z", "labels"), (z.numpy(), *(part.numpy() for part in labels)), strict=False))
        np.testing.assert_allclose(session.run(None, inputs)[0], wanted, atol=1e-4)
    assert float(wanted.std(dim=0).mean()) > 0.02, "images that differ"
    model = onnx.load(path)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"prior": "normal"}
    assert str(Path.cwd()).encode() not in path.read_bytes()
    with torch.no_grad():
        list(pair.generator.parameters())[-1].add_(0.5)  # the last bias
    with pytest.raises(ConfigError, match=r"differ from PyTorch's by .* formats=safetensors leaves ONNX out"):
        check_onnx(pair, path)


def test_weights_configuration_and_facts(tmp_path: Path, exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)  # not needed for safetensors
    run = save_run(tmp_path / "run", "cond=projection", "loss.gen=kl", "metrics.inception_weights=/home/me/w.pt")
    trained = load_run(run, network="raw")
    folder = exported(run, "formats=safetensors", "network=raw")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.yaml", "generator.safetensors"]
    with safe_open(folder / "generator.safetensors", "pt") as file:
        metadata = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    wanted = trained.networks.generator.state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    assert metadata["objective"] == "disc=gan gen=kl"
    assert (metadata["step"], metadata["network"], metadata["prior"]) == ("2", "raw", "normal")
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert json.loads(metadata["image_range"]) == [-1, 1]
    config = from_dict(yaml.safe_load((folder / "config.yaml").read_text()))
    assert config.metrics.inception_weights == "w.pt"
    config.metrics.inception_weights = "/home/me/w.pt"
    assert config == trained.config
    card = (folder / "README.md").read_text()
    assert "onnx" not in card.lower()
    for words in (
        "disc=gan gen=kl",
        "2 generator steps",
        "as trained, without averaging",
        "ant, bee, cow, 007",
        "CC BY 4.0",
    ):
        assert words in card
    assert "No metric was measured" in card  # of the raw network


def test_figures_stand_with_their_protocol_where_the_run_tells(tmp_path: Path, exported: Export) -> None:
    run = save_run(tmp_path / "run")
    card = (exported(run, "formats=safetensors", out=tmp_path / "a") / "README.md").read_text()
    assert "| `modes` | 12 | unknown |" in card
    protocol = {"samples": 50, "network": "ema", "step": 2}
    rows = [{"step": 1, "kind": "train", "loss": 1.0}]
    rows += [
        {"step": step, "kind": "metric", "name": "modes", "value": value, "protocol": {**protocol, "step": step}}
        for step, value in ((1, 11.0), (2, 12.0))
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    card = (exported(run, "formats=safetensors", out=tmp_path / "b") / "README.md").read_text()
    assert "| `modes` | 12 | samples 50, step 2 |" in card
    assert "| `modes_kl` | 3.25 | unknown |" in card


def test_refusals_leave_nothing(tmp_path: Path, exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    run = save_run(tmp_path / "run")
    (tmp_path / "taken").mkdir()
    for words, expected in (
        (["formats=safetensor"], "choose from [safetensors, onnx]"),
        (["formats=[]"], "formats is empty"),
        (["formats=onnx,onnx"], "names one twice"),
        ([f"out={tmp_path}/taken"], "nothing is overwritten"),
        ([f"out={tmp_path}/no/where"], "make it first"),
        (["network=mean"], "[ema, raw]"),
    ):
        words = [*words] if any(word.startswith("out=") for word in words) else [*words, f"out={tmp_path}/new"]
        with pytest.raises(ConfigError) as error:
            export.run(parse_words(export.Options, "export", [f"run={run}", *words]))
        assert expected in str(error.value)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ConfigError, match=r"formats=safetensors needs safetensors.*'gantrain\[export\]'"):
        exported(run)
    monkeypatch.undo()

    def fail(*_: object) -> float:
        raise ConfigError("differ")

    monkeypatch.setattr(export, "check_onnx", fail)
    monkeypatch.setattr(export, "write_onnx", lambda _, path, __: path.write_bytes(b"half"))
    with pytest.raises(ConfigError, match="differ"):
        exported(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]
    assert [path.name for path in run.iterdir()] == ["last.pt"]
