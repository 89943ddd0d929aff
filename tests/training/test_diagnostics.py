"""Diagnostics in a run: their values, that they change nothing, and runs with findings of the doctor."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from gantrain import builders
from gantrain.config import ConfigError
from gantrain.data import ImageSet, to_range
from gantrain.diagnostics.doctor import Doctor, Finding
from gantrain.networks import NetworkPair
from gantrain.run_io.metrics_jsonl import read_rows
from gantrain.training.diagnostics import Diagnostics
from gantrain.training.trainer import StoppedByDoctorError
from tests.conftest import TINY, compose
from tests.same_runs import assert_same, rows_without_times
from tests.training.helpers import Operations, make_trainer
from tests.training.test_runs import interrupt_at, resume, train, trained_state

EVERY_2 = "log.diagnostics_every_steps=2"


def rows_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [row for row in read_rows(folder / "metrics.jsonl") if row["kind"] == kind]


def diagnostics_of(*overrides: str) -> Diagnostics:
    diagnostics = make_trainer(*overrides).diagnostics
    assert diagnostics is not None
    return diagnostics


VALUES = {
    *("loss/discriminator_at_q=p", "generator_weight/mean", "generator_weight/effective_share"),
    *("generator_weight/saturated", "discriminator/rank_accuracy", "discriminator/surely_right"),
    *("discriminator/surely_wrong", "overfitting/r_t", "overfitting/r_v", "overfitting/logit_held_out"),
    *("D/calibration_error", "D/distance_from_half", "similarity/spread", "similarity/nearest", "similarity/energy"),
    *("generator_gradient/cosine", "diagnostics/share_of_time"),
}


def test_values_of_diagnostics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path / "run", EVERY_2, "loss.gen=kl")
    rows = rows_of(run, "diagnostic")
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert {name for name, value in rows[-1].items() if isinstance(value, float)} >= VALUES
    assert sum(rows[-1]["reliability"]["counts"]) == 16  # log.every_steps is 1: one step of 8 real and 8 fake
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert set(tags["histograms"]) == {"v/real", "v/fake", "v/generated", "v/held_out"}
    assert "D/reliability" in tags["images"]
    assert "generator_weight/saturated" in tags["scalars"]
    assert "custom_scalars__config__" in tags["tensors"] + list(events.summary_metadata)
    printed = capsys.readouterr()
    assert "% of the training time" in printed.out.split("  diagnostics ")[1]
    assert "doctor" not in printed.err


def test_objectives_without_a_ratio_and_data_without_a_held_out_split(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(12):
        Image.new("RGB", (32, 32), (k * 20, 0, 9)).save(folder / f"{k}.png")
    words = ("data=folder", "data.flip=false", f"data.root={folder}", "metrics=none", "loss=wasserstein", EVERY_2)
    row = rows_of(train(tmp_path / "run", *words), "diagnostic")[-1]
    assert {"similarity/spread", "discriminator/rank_accuracy"} <= row.keys()
    assert not {"overfitting/r_v", "overfitting/r_t", "overfitting/logit_held_out", "reliability"} & row.keys()
    assert row["generator_weight/mean"] == 1  # a critic's generator weighs all alike
    assert "overfitting/r_t" in rows_of(train(tmp_path / "hinge", "loss=hinge", EVERY_2), "diagnostic")[-1]


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.d_norm=batch", "model.d_dropout=0.3", "schedule.d_steps=2"),
        ("cond=projection", "augment=ada", "tricks.instance_noise=0.1", "tricks.top_k=0.5", "precision=bf16"),
        ("cond=acgan", "model.d_norm=virtual", "model.virtual_reference=3", "loss.disc=relativistic"),
    ],
    ids=["batch", "projection", "virtual"],
)
def test_diagnostics_change_nothing_and_resuming_is_exact(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    words = (*overrides, "metrics=none", "log.checkpoint_every_steps=4", "schedule.steps=10")
    blind = train(tmp_path / "blind", *words, "log.diagnostics_every_steps=0")
    words = (
        *words,
        "log.diagnostics_every_steps=5",
    )  # step 4's checkpoint holds the gradient that step 5 compares with
    looks = train(tmp_path / "looks", *words)
    states = [trained_state(folder) for folder in (blind, looks)]
    for part in ("generator", "discriminator", "optimizer_g", "optimizer_d", "batches", "train_step", "rng_cpu", "ema"):
        assert_same(states[0][part], states[1][part], part)
    assert rows_of(blind, "diagnostic") == []
    interrupt_at(tmp_path / "part", 5, *words)
    part = resume(tmp_path / "part")
    assert_same(trained_state(part), states[1])
    one, other = ([r for r in rows_without_times(run) if r["kind"] == "diagnostic"] for run in (part, looks))
    assert one == other
    assert [row["step"] for row in one] == [5, 10]
    assert all("generator_gradient/cosine" in row for row in one)


@pytest.mark.parametrize("every", [1, 3])
def test_the_cosine_compares_the_last_two_steps_and_keeping_a_gradient_does_not_wait(every: int) -> None:
    diagnostics = diagnostics_of(f"log.diagnostics_every_steps={every}", f"log.every_steps={every}")
    train_step, operations, gradients = diagnostics.train_step, Operations(), []
    for _ in range(2 * every):
        train_step.run()
        gradients.append([p.grad.clone() for p in train_step.networks.generator.parameters() if p.grad is not None])
        if diagnostics.is_due():
            values = diagnostics.measure().values
            train_step.buffer.clear()
        with operations:
            diagnostics.keep_gradient()
    assert operations.names
    assert not operations.that_wait
    one, other = (torch.cat([g.flatten() for g in of]).double() for of in gradients[-2:])
    wanted = float(cosine_similarity(one, other, dim=0))
    assert wanted < 0.99999
    assert values["generator_gradient/cosine"] == pytest.approx(wanted, abs=1e-6)


def test_held_out_images_are_discriminated_in_eval_mode() -> None:
    diagnostics = diagnostics_of("model.d_norm=batch", "schedule.batch_size=16", "log.every_steps=2", EVERY_2)
    train_step = diagnostics.train_step
    assert diagnostics.held_out is not None
    train_step.run()
    train_step.run()
    network = train_step.networks.discriminator
    before = {name: value.clone() for name, value in network.state_dict().items()}
    values = diagnostics.measure().values
    assert_same(dict(network.state_dict()), before)
    assert network.training
    network.eval()
    for name, images in (("trained", diagnostics.trained), ("held_out", diagnostics.held_out)):
        batch = to_range(images[0][16:32], (-1.0, 1.0))  # the second batch of 16
        assert values[f"overfitting/logit_{name}"] == pytest.approx(float(network(batch).detach().mean()), rel=1e-5)
    assert len(diagnostics.held_out[0]) == len(diagnostics.trained[0]) == builders.DIAGNOSTIC_EXAMPLES
    for split, (chosen, _) in (("train", diagnostics.trained), ("test", diagnostics.held_out)):
        examples = builders.load_data(compose(*TINY), split).examples
        assert bool((examples == chosen[:1]).flatten(1).all(dim=1).any()), split


def test_diagnostics_of_points(tmp_path: Path) -> None:
    words = ("data=ring", "device=cpu", "schedule.steps=400", "schedule.batch_size=64", "model.width=16")
    often = ("metrics=none", "log.diagnostics_every_steps=100", "log.grids_every_steps=400")
    builders.run(compose(*words, *often), tmp_path / "run")
    rows = rows_of(tmp_path / "run", "diagnostic")
    assert [row["step"] for row in rows] == [100, 200, 300, 400]
    assert {"similarity/energy", "overfitting/r_v", "D/calibration_error"} <= rows[-1].keys()
    assert rows_of(tmp_path / "run", "doctor") == []


def test_the_interval_is_a_multiple_of_the_logging_interval_and_stopping_needs_one() -> None:
    for interval, every, wanted in (("30", "20", 40), ("null", "40", 80), ("20", "20", 20), ("null", "7", 56)):
        words = (f"log.diagnostics_every_steps={interval}", f"log.every_steps={every}", "schedule.steps=500")
        assert diagnostics_of(*words).every == wanted
    with pytest.raises(ConfigError, match=r"doctor\.stop=true needs the doctor"):
        compose("doctor.stop=true", "log.diagnostics_every_steps=0")
    with pytest.raises(ConfigError, match=r"log\.diagnostics_every_steps=-1 must be between 0"):
        compose("log.diagnostics_every_steps=-1")


# The runs below provoke one condition each. They are small: seconds on one core.
SMALL = (
    *("data=digits", "model.width=4", "model.latent_dim=16", "schedule.batch_size=16", "schedule.ema_decay=0.9"),
    *("metrics=none", "log.every_steps=10", "log.diagnostics_every_steps=30", "log.grids_every_steps=1000"),
    *("log.checkpoint_every_steps=1000", "log.grid_images=4", "device=cpu"),
)
PROVOKED = {
    "dead discriminator": ("schedule.steps=300", "optimizer.lr_d=1e-12"),
    "crushed generator": ("schedule.steps=400", "loss.gen=kl", "model.d_norm=batch", "optimizer.lr_d=1e-2"),
    "ratio explosion": ("schedule.steps=300", "model.d_norm=none", "optimizer.lr_d=0.1"),
}


def findings_of(folder: Path, *overrides: str) -> dict[str, dict[str, Any]]:
    builders.run(compose(*SMALL, *overrides), folder)
    found = rows_of(folder, "doctor")
    assert len({row["name"] for row in found}) == len(found)
    return {row["name"]: row for row in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVOKED)
def test_a_run_that_provokes_the_condition(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = findings_of(tmp_path / "run", *PROVOKED[name])
    assert name in found
    assert caplog.text.count(f"doctor: {name} at step {found[name]['step']}: ") == 1
    assert found[name]["evidence"] in caplog.text
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert f"doctor/{name}/text_summary" in events.Tags()["tensors"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("schedule.steps=480", "model.width=8"),
        pytest.param(("loss=exact", "loss.gen=kl"), marks=pytest.mark.exhaustive),
    ],
)
def test_a_healthy_run_has_no_findings(
    overrides: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("schedule.steps=450", "optimizer.lr_g=5e-4", "optimizer.lr_d=5e-4", *overrides)
    assert findings_of(tmp_path / "run", *words) == {}
    assert len(rows_of(tmp_path / "run", "diagnostic")) >= 15
    assert "doctor" not in caplog.text


def noise_images(count: int, seed: int) -> ImageSet:
    source = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=source)
    return ImageSet("noise", images, torch.zeros(count, dtype=torch.long), ("noise",))


class Function(nn.Module):
    """A function of one learned tensor and the input."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], first: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(first)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.weight, x)


def shift(first: float) -> nn.Module:
    """Uniform z as an image plus a learned shift; without a shift its distribution is that of `noise_images`."""
    return Function(lambda w, z: z.view(-1, 3, 32, 32) + w / 3072**0.5, torch.tensor(first))


def perceptron() -> nn.Module:
    """A hidden layer over all values of an image."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Flatten(0))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces networks, and data if given, of the runs of a test."""

    def replace(make: Callable[[], tuple[nn.Module, nn.Module]], data: Callable[[str], ImageSet] | None = None) -> None:
        monkeypatch.setattr(
            "gantrain.builders.training.build_networks",
            lambda config, classes: NetworkPair(*make(), (-1.0, 1.0), 3072, "uniform"),
        )
        for module in ("runs", "training") if data else ():
            monkeypatch.setattr(f"gantrain.builders.{module}.load_data", lambda config, split: data(split))

    return replace


@pytest.mark.parametrize(("images", "reported"), [(32, ["overfit discriminator"]), (20_000, [])])
def test_a_discriminator_that_can_only_memorize(
    images: int, reported: list[str], tmp_path: Path, use: Callable[..., None]
) -> None:
    """Real and generated images are the same noise: p = q except for the training images themselves."""
    use(
        lambda: (shift(0.0), perceptron()),
        lambda split: noise_images(images, 0) if split == "train" else noise_images(2048, 1),
    )
    found = findings_of(tmp_path / "run", "schedule.steps=300", "optimizer.lr_g=1e-6", "optimizer.lr_d=1e-3")
    assert list(found) == reported
    assert all("r_v = " in row["evidence"] for row in found.values())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_generator_that_ignores_z(share: float, tmp_path: Path, use: Callable[..., None]) -> None:
    """A generator of a single image has collapsed by construction; with z added it has not."""

    def image(weight: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(weight + share * z.view(-1, 3, 32, 32))

    use(lambda: (Function(image, torch.zeros(1, 3, 32, 32)), perceptron()))
    found = findings_of(tmp_path / "run", "schedule.steps=480", "optimizer.lr_g=1e-3", "optimizer.lr_d=1e-4")
    assert ("mode collapse" in found) == (share == 0)
    if share == 0:
        assert "is 0 to 0 of that between real images" in found["mode collapse"]["evidence"]


@pytest.mark.parametrize(("damping", "reported"), [("regularizer.r1=0", ["oscillation"]), ("regularizer.r1=100", [])])
def test_a_game_that_oscillates(damping: str, reported: list[str], tmp_path: Path, use: Callable[..., None]) -> None:
    """Dirac-GAN: without a penalty it circles, with R1 it comes to rest (Mescheder et al. 2018)."""

    def slope() -> nn.Module:
        """A linear discriminator of the direction of `shift`."""
        return Function(lambda w, x: w * x.flatten(1).mean(dim=1) * 3072**0.5, torch.tensor(1.0))

    use(lambda: (shift(3.0), slope()), lambda split: noise_images(2048, 0))
    rates = ("optimizer.lr_g=0.1", "optimizer.lr_d=0.1", "optimizer.beta1_g=0", "optimizer.beta1_d=0")
    found = findings_of(tmp_path / "run", "schedule.steps=300", "loss=wasserstein", damping, *rates)
    assert list(found) == reported


def find_once(self: Doctor, step: int, values: Any) -> list[Finding]:
    """A doctor that finds a dead discriminator at step 4, once."""
    if step < 4 or self.reported:
        return []
    self.reported.append("dead discriminator")
    return [Finding("dead discriminator", step, "In steps 1 to 4 it was dead.", "Let it learn.")]


def test_the_doctor_can_stop_a_run_which_can_be_resumed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Doctor, "observe", find_once)
    words = (EVERY_2, "schedule.steps=8", "metrics=none", "log.checkpoint_every_steps=8")
    whole = train(tmp_path / "whole", *words)
    assert [row["step"] for row in rows_of(whole, "doctor")] == [4]
    assert "doctor: dead discriminator at step 4: In steps 1 to 4 it was dead." in caplog.text
    with pytest.raises(StoppedByDoctorError, match=r"a dead discriminator at step 4 and doctor\.stop=true"):
        train(tmp_path / "run", *words, "doctor.stop=true")
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("Stopped: 4 steps", "doctor       dead discriminator", "last.pt"))
    assert trained_state(tmp_path / "run")["step"] == 4
    finding = {"evidence": "In steps 1 to 4 it was dead.", "advice": "Let it learn."}
    row = {"step": 4, "kind": "doctor", "name": "dead discriminator", **finding}
    assert rows_of(tmp_path / "run", "doctor") == [row]
    resumed = resume(tmp_path / "run", doctor__stop=False)
    assert_same(trained_state(resumed)["generator"], trained_state(whole)["generator"])
    assert [row["step"] for row in rows_of(resumed, "doctor")] == [4]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_stopped_run_fails_on_the_command_line(gantrain: Callable[..., Any], tmp_path: Path) -> None:
    words = [word for word in SMALL if "checkpoint" not in word]
    done = gantrain(*words, *PROVOKED["dead discriminator"], "doctor.stop=true", "hydra.run.dir=run")
    assert done.returncode == 1
    assert "gantrain: error: the doctor found a dead discriminator at step" in done.stderr
    assert "continues anyway" in done.stderr
    assert "Traceback" not in done.stderr
    assert "dead discriminator" in (tmp_path / "run" / "error.txt").read_text()
    finding = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert finding["kind"] == "doctor"
    assert finding["step"] < 300
    again = gantrain("resume=run", "doctor.stop=false")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("Done: 300 steps") == 1


def test_diagnostics_of_a_set_smaller_than_a_batch() -> None:
    train_step = make_trainer("schedule.batch_size=16", "log.every_steps=1").train_step
    few = noise_images(5, 0).images, torch.zeros(5, dtype=torch.long)
    train_step.run()
    diagnostics = Diagnostics(train_step, every=1, trained=few, held_out=few)
    assert diagnostics.measure().values["overfitting/r_v"] == 0
