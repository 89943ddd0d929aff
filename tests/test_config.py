"""Configuration: what composes, what it means, and what a command line changes."""

import functools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gantrain import builders, config
from gantrain.config import ConfigError, from_dict, to_dict
from gantrain.config.compose import CONFIGS, GROUPS
from gantrain.config.overrides import explicit_keys
from gantrain.data import to_uint8
from gantrain.objectives import discriminator_names, divergence_names, generator_names
from gantrain.training.augment import Augment
from gantrain.training.regularizers import GradientNormPenalty, ZeroCenteredPenalty
from gantrain.training.schedules import DiscriminatorSteps
from gantrain.training.step_options import ClassLoss
from gantrain.training.trainer import Trainer
from gantrain.training.tricks import History, InstanceNoise, TopK
from tests.conftest import REPOSITORY, compose

FOLDER = CONFIGS / "experiment"
EXPERIMENTS = sorted(
    str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml") if path.stem[0] != "_"
)
LITERATURE = {
    *("dcgan", "wgan_clip", "wgan_gp", "sngan_cnn", "sngan_resnet", "acgan", "projection", "ucla_notes", "best_cnn"),
    *(f"poole2016/{gen}" for gen in ("alt", "rkl", "hellinger", "kl", "js", "gan")),
    *(f"{folder}/{name}" for folder in ("fgan", "fgan_minimax") for name in divergence_names()),
    *(f"jackson/{name}" for name in ("minimax", "nonsaturating", "hinge", "hinge_ns", "wgan")),
    *(f"kurach/{loss}_{constraint}" for loss in ("ns", "ls", "w") for constraint in ("none", "sn", "gp")),
}


def test_the_default_is_cifar10_dcgan_and_the_non_saturating_gan() -> None:
    default = compose()
    assert (default.data.name, default.model.name, default.loss.disc, default.loss.gen) == (
        "cifar10",
        "dcgan",
        "gan",
        "auto",
    )
    assert default.loss.make().gen == "alt"
    assert default.metric_names == ("fid", "kid")
    assert default.name == "cifar10-dcgan-gan-auto-seed0"


@pytest.mark.parametrize("key", ["extra", "regularizer.extra", "data.extra.more"])
def test_a_key_that_the_schema_lacks_is_named(key: str) -> None:
    name = ".".join(key.split(".")[:2])
    with pytest.raises(ConfigError, match=f"^'{name}' is not a key"):
        compose(f"+{key}=3")


def test_groups_are_those_of_the_documentation() -> None:
    assert set(GROUPS) == {
        *("model", "loss", "regularizer", "cond", "augment", "optimizer", "schedule", "data", "metrics", "experiment")
    }


@pytest.mark.parametrize("group", [g for g in GROUPS if g != "experiment"])
def test_every_file_of_every_group_composes(group: str, tmp_path: Path) -> None:
    for path in (CONFIGS / group).glob("*.yaml"):
        needs = {"folder": [f"data.root={tmp_path}"], "clip": ["model.d_norm=none"], "mlp": ["data=ring"]}
        extra = needs.get(path.stem, [])
        made = compose(f"{group}={path.stem}", *extra)
        assert from_dict(to_dict(made)) == made


@functools.cache
def experiment(name: str) -> dict[str, Any]:
    return to_dict(compose(f"experiment={name}"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_builds_and_takes_two_steps(name: str, tmp_path: Path) -> None:
    tiny = {
        "data": experiment("demo")["data"],
        "model": {"width": 2, "d_width": None},
        "schedule": {"steps": 2, "batch_size": 4},
        "metrics": {"names": []},
        "log": {"grid_images": 4},
    }
    tree = experiment(name) | {"device": "cpu"} | {key: experiment(name)[key] | tiny[key] for key in tiny}
    assert builders.run(from_dict(tree), tmp_path / "run").step == 2


def test_all_papers_have_an_experiment_that_names_its_source() -> None:
    assert set(EXPERIMENTS) == LITERATURE | {"demo", "seeds", "grid_divergences"}
    for name in LITERATURE:
        paper = experiment(name)["paper"]
        assert paper["source"], name
        assert paper["published"], name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("poole2016/kl", {"model.name": "poole", "schedule.batch_size": 128, "loss.gen": "kl", "optimizer.lr_g": 1e-4}),
        ("fgan_minimax/pearson", {"loss.disc": "pearson", "loss.gen": "minimax", "model.d_norm": "batch"}),
        ("jackson/hinge_ns", {"loss.disc": "hinge", "loss.gen": "hinge_ns"}),
        ("kurach/w_gp", {"loss.disc": "wasserstein", "regularizer.gp": 10.0, "model.d_norm": "none"}),
        ("kurach/ns_sn", {"loss.gen": "alt", "model.d_norm": "spectral", "schedule.steps": 200_000}),
        ("wgan_clip", {"regularizer.clip": 0.01, "schedule.d_steps": 5, "schedule.early_d_steps": 100}),
        ("sngan_cnn", {"loss.disc": "hinge", "optimizer.beta1_d": 0.0, "schedule.lr_decay": "linear"}),
        ("acgan", {"cond.name": "acgan", "cond.generator": "embedding"}),
        ("ucla_notes", {"loss.label_smoothing": 0.1, "tricks.history": 1024, "model.g_dropout": 0.5}),
    ],
)
def test_settings_of_experiments(name: str, expected: dict[str, object]) -> None:
    flat = config.flatten(experiment(name))
    assert {key: flat[key] for key in expected} == expected


def test_default_protocols_on_cpu_and_gpu() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    images = compose()
    assert builders.measuring_protocol(images, cpu) == builders.Protocol(("fid", "kid"), 1024, 1024, 0, 100)
    assert builders.measuring_protocol(images, cuda) == builders.Protocol(("fid", "kid"), 50_000, None, 10_000, 500)
    digits = compose("data=digits", "schedule.steps=1000")
    assert builders.measuring_protocol(digits, cpu) == builders.Protocol(("modes",), 10_000, 10_000, 200, 100)
    keys = {"samples": 2000, "reference_samples": 3000, "every_steps": 7, "batch_size": 30}
    chosen = compose(*(f"metrics.{key}={value}" for key, value in keys.items()))
    for device in (cpu, cuda):
        assert builders.measuring_protocol(chosen, device) == builders.Protocol(("fid", "kid"), 2000, 3000, 7, 30)


def test_configurations_known_to_fail_give_warnings() -> None:
    def warnings(*overrides: str) -> str:
        return " ".join(builders.warnings_for(compose("data=digits", *overrides)))

    assert "Lipschitz" in warnings("loss.disc=wasserstein", "model.d_norm=batch")
    assert warnings("loss.disc=wasserstein") == ""
    for constraint in ("regularizer=gp", "regularizer=dragan", "regularizer=clip", "regularizer=r1"):
        assert "Lipschitz" not in warnings("loss.disc=wasserstein", "model.d_norm=none", constraint)
    for penalty in ("gp", "dragan", "r1", "r1r2"):
        assert "batch norm in the discriminator" in warnings("model.d_norm=batch", f"regularizer={penalty}")
        assert "batch norm" not in warnings("model.d_norm=layer", f"regularizer={penalty}")
    assert warnings("model.d_norm=batch", "regularizer=clip") == ""
    assert "max_log_ratio=10" in warnings("loss.disc=pearson", "loss.gen=kl")
    assert warnings("loss.disc=pearson", "loss.gen=kl", "loss.max_log_ratio=5") == ""
    assert warnings("loss.disc=pearson") == ""
    assert warnings() == ""
    for gen in ("js", "hellinger", "kl", "pearson"):
        assert f"loss=exact loss.gen={gen}" in warnings(f"loss.gen={gen}", "model.d_norm=batch")
        assert warnings("loss=exact", f"loss.gen={gen}") == ""
        assert warnings("model=poole", f"loss.gen={gen}") == ""
        assert "loss=exact" in warnings(f"loss.gen={gen}", "loss.rule=exact")
    assert "loss=exact" in warnings("loss.gen=js", "loss.disc=js")
    assert warnings("loss.gen=rkl") == warnings("loss.gen=alt") == ""


def test_explicit_keys_are_those_that_the_command_line_sets() -> None:
    words = ["model=poole", "schedule.steps=9", "loss.gen=kl", "hydra.run.dir=x"]
    made = compose("model=poole", "schedule.steps=9", "loss.gen=kl")
    asked = explicit_keys(words, made)
    assert asked["schedule.steps"] == 9
    assert asked["model.latent_dim"] == 64
    assert {key.split(".")[0] for key in asked} == {"model", "schedule", "loss"}
    everything = set(config.flatten(to_dict(made)))
    assert set(explicit_keys(["experiment=demo"], made)) == everything - set(config.MAY_CHANGE_ON_RESUME)
    assert "schedule.steps" in explicit_keys(["experiment=demo", "schedule.steps=9"], made)


def test_streams_of_random_numbers_differ_from_each_other_and_by_seed() -> None:
    seeds = [builders.stream_seed(seed, stream) for seed in (0, 1, 2**32, 2**63 - 1) for stream in builders.STREAMS]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)
    made = compose("data=digits", "model.width=2", "model.latent_dim=8", "schedule.batch_size=4", "log.grid_images=4")
    trainer = builders.build_trainer(made, builders.load_data(made, "test"), [], torch.device("cpu"))
    first_z = torch.randn(4, 8, generator=trainer.train_step.latents)
    assert not torch.equal(first_z, trainer.grid.z)


def made(*overrides: str) -> Trainer:
    config = compose("data=digits", "model.width=2", "schedule.batch_size=4", "log.grid_images=4", *overrides)
    return builders.build_trainer(config, builders.load_data(config, "test"), [], torch.device("cpu"))


def test_keys_reach_the_parts_that_they_name() -> None:
    def factor(decay: str) -> float:
        return made(f"schedule.lr_decay={decay}", "schedule.steps=100").learning_rate_factor(25)

    assert [factor(name) for name in ("constant", "linear", "cosine")] == pytest.approx(
        [1.0, 0.75, (1 + math.cos(math.pi / 4)) / 2]
    )
    early = ("schedule.early_d_steps=7", "schedule.early_until=3", "schedule.early_every=9", "schedule.d_steps=2")
    assert made(*early).train_step.d_steps == DiscriminatorSteps(2, 7, 3, 9)
    (augment,) = made("augment=diffaugment", "augment.p=0.25", "loss=lsgan").train_step.tricks
    assert isinstance(augment, Augment)
    assert (float(augment.p), augment.target) == (0.25, None)
    (adaptive,) = made("augment=ada", "augment.speed_images=9", "loss=lsgan").train_step.tricks
    assert isinstance(adaptive, Augment)
    assert (float(adaptive.p), adaptive.target, adaptive.boundary, adaptive.speed_images) == (0.0, 0.6, 0.5, 9)
    words = ("augment=ada", "tricks.instance_noise=0.3", "tricks.history=4")
    more = ("tricks.top_k=0.5", "tricks.top_k_decay=0.9", "schedule.steps=100", "tricks.instance_noise_until=0.5")
    tricks = made(*words, *more, "model=poole").train_step.tricks
    augment, noise, top_k, history = tricks  # noise is added to what is augmented
    assert isinstance(augment, Augment)
    assert isinstance(noise, InstanceNoise)
    assert (noise.sigma, noise.until) == (0.15, 50)  # images in [0, 1]
    assert isinstance(top_k, TopK)
    assert (top_k.least, top_k.decay) == (0.5, 0.9)
    assert isinstance(history, History)
    assert len(history.images) == 4
    lazy = made("regularizer.r1=2", "regularizer.r2=3", "regularizer.interval=4").train_step.regularizers
    assert lazy == [ZeroCenteredPenalty(r1=2, r2=3, interval=4)]
    one_sided = made("regularizer=gp", "regularizer.one_sided=true").train_step.regularizers
    assert one_sided == [GradientNormPenalty(gp=10, one_sided=True)]
    assert made("cond=acgan", "cond.weight_d=2", "cond.weight_g=3").train_step.class_loss == ClassLoss(2, 3)
    assert made("data.dequantize=true").train_step.batches.dequantize
    assert made("optimizer.grad_clip_norm=5").train_step.grad_clip_norm == 5
    plain = made().train_step
    assert (plain.regularizers, plain.tricks, plain.class_loss) == ([], [], None)


def test_reference_batches_are_drawn_from_the_data_and_the_prior() -> None:
    words = ("model.d_norm=virtual", "model.g_norm=virtual", "model.virtual_reference=6", "model.prior=sphere")
    first, again, other = made(*words), made(*words), made(*words, "seed=1")
    images = {image.numpy().tobytes() for image in first.train_step.batches.images}
    for trainer in (first, other):
        networks = trainer.train_step.networks
        shown = networks.discriminator.features.reference  # type: ignore[union-attr]
        assert shown.shape == (6, 3, 32, 32)  # type: ignore[union-attr]
        levels = to_uint8(shown, networks.image_range)  # type: ignore[arg-type]
        assert all(image.numpy().tobytes() in images for image in levels)
        z = networks.generator.reference
        torch.testing.assert_close(z.norm(dim=1), torch.full((6,), 10.0))  # type: ignore[operator, union-attr]
    for side in ("generator", "discriminator"):
        states = [getattr(t.train_step.networks, side).state_dict() for t in (first, again, other)]
        (key,) = [name for name in states[0] if name.endswith("reference")]
        assert torch.equal(states[0][key], states[1][key])
        assert not torch.equal(states[0][key], states[2][key])


def test_devices_have_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    assert builders.make_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = [builders.make_device(name) for name in ("auto", "cuda", "cuda:1")]
    assert found == [torch.device("cuda", 0), torch.device("cuda", 0), torch.device("cuda", 1)]
    with pytest.raises(ConfigError, match="device='cuda:2' does not exist"):
        builders.make_device("cuda:2")


def test_reference_images_are_a_random_choice_and_the_same_for_every_run() -> None:
    data = builders.load_data(compose("data=digits"), "test")
    chosen, labels = builders.choose_reference(data, 100)
    assert torch.equal(chosen, builders.choose_reference(data, 100)[0])
    assert not torch.equal(chosen, data.images[:100])
    assert builders.choose_reference(data, None) == (data.images, data.labels)
    of_image = {image.numpy().tobytes(): int(label) for image, label in zip(data.images, data.labels, strict=True)}
    assert [of_image[image.numpy().tobytes()] for image in chosen] == labels.tolist()
    with pytest.raises(ConfigError, match="has 5000 images"):
        builders.choose_reference(data, 5001)


def test_help_shows_groups_keys_and_the_table_of_objectives(
    gantrain: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = gantrain("--help")
    assert done.returncode == 0
    for word in (*GROUPS, *discriminator_names(), *generator_names(), "u log u", "(√u - 1)²", "loss.max_log_ratio"):
        assert word in done.stdout, word
    assert not list(tmp_path.iterdir())  # asking for help leaves nothing


@pytest.mark.slow
def test_the_wheel_carries_configs_and_runs_outside_the_checkout(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    command = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("gantrain-*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    # The dependencies are gigabytes: lent from here, behind the venv's own packages. The checkout is not.
    lent = Path(torch.__file__).parents[1]
    (site / "lent.pth").write_text(f"{lent}\n")
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    python = [str(venv / "bin" / "python"), "-I"]
    where = subprocess.run(
        [*python, "-c", "import gantrain; print(gantrain.__file__)"], cwd=empty, capture_output=True, text=True
    )
    assert str(venv) in where.stdout, where
    done = subprocess.run(
        [*python, "-m", "gantrain", "--cfg", "job", "loss.gen=kl", "model=poole"],
        cwd=empty,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "gen: kl" in done.stdout
    assert "latent_dim: 64" in done.stdout
