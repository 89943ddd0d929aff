"""What is drawn from a trained run, by what its checkpoint says and nothing else."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from gantrain.commands import sample, sample_formats
from gantrain.commands.drawing import Latents, choose_latents, discriminate, draw_samples, ranked
from gantrain.commands.options import parse_words
from gantrain.commands.trained import TrainedRun, load_run
from gantrain.config import ConfigError
from gantrain.data import to_uint8
from gantrain.metrics.sampling import generate_images
from gantrain.networks import sample_latent
from gantrain.run_io.metrics_jsonl import read_rows
from gantrain.training.checkpoint import CheckpointError
from tests.commands.saved_runs import CLASSES, save_run
from tests.conftest import TINY

Arrays = dict[str, npt.NDArray[np.generic]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "labeled", "cond=projection")


@pytest.fixture
def draw(capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """`gantrain sample` in this process; where it wrote."""

    def run(folder: Path, *words: str) -> Path:
        capsys.readouterr()
        sample.run(parse_words(sample.Options, "sample", [f"run={folder}", "device=cpu", *words]))
        return Path(capsys.readouterr().out.strip())

    return run


def arrays(path: Path) -> Arrays:
    with np.load(path) as content:
        return dict(content)


def latents_of(seed: int, count: int) -> Tensor:
    return sample_latent("normal", (count, 8), torch.Generator().manual_seed(seed))


def pixels_of(picture: Path) -> npt.NDArray[np.uint8]:
    with Image.open(picture) as opened:
        return np.asarray(opened.convert("RGB"))


def tiles(picture: Path, columns: int, size: int = 32) -> npt.NDArray[np.uint8]:
    """The images of a grid, row by row."""
    grid = pixels_of(picture)
    rows = (grid.shape[0] - 2) // (size + 2)
    corners = [(2 + (size + 2) * r, 2 + (size + 2) * c) for r in range(rows) for c in range(columns)]
    return np.stack([grid[top : top + size, left : left + size] for top, left in corners])


def test_images_and_ratios_are_those_of_the_checkpoint(plain: Path, tmp_path: Path, draw: Callable[..., Path]) -> None:
    content = arrays(draw(plain, "n=150", "seed=3", f"out={tmp_path}/a.npz"))
    assert set(content) == {"images", "z", "log_ratio"}
    z = latents_of(3, 150)
    assert np.array_equal(content["z"], z.numpy())
    trained = load_run(plain)
    with torch.no_grad():
        floats = trained.networks.generator(z)
        logits = trained.networks.discriminator(floats)  # disc=gan: v is log r
    pixels = to_uint8(floats, (-1.0, 1.0)).permute(0, 2, 3, 1).numpy()
    assert content["images"].dtype == np.uint8
    assert int(np.abs(pixels.astype(int) - content["images"]).max()) <= 1  # the batch differs
    assert float(pixels.std(axis=0).mean()) > 5, "images that differ"
    np.testing.assert_allclose(content["log_ratio"], logits.numpy(), atol=1e-5)


def test_files_grids_and_arrays_hold_the_same_images(plain: Path, tmp_path: Path, draw: Callable[..., Path]) -> None:
    images = arrays(draw(plain, "n=12", f"out={tmp_path}/a.npz"))["images"]
    folder = draw(plain, "n=12", "format=png", f"out={tmp_path}/files")
    names = [f"{k:02d}.png" for k in range(12)]
    assert sorted(p.name for p in folder.iterdir()) == [*names, "samples.csv"]
    assert np.array_equal(np.stack([pixels_of(folder / name) for name in names]), images)
    grid = draw(plain, "n=12")
    assert grid.parent == plain / "samples"
    assert np.array_equal(tiles(grid, 4), images)


def test_rank_sorts_from_the_most_to_the_least_believable(
    plain: Path, tmp_path: Path, draw: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    unsorted = arrays(draw(plain, "n=40", f"out={tmp_path}/a.npz"))
    content = arrays(draw(plain, "n=40", "rank=log_ratio", f"out={tmp_path}/b.npz"))
    order = np.argsort(-unsorted["log_ratio"], kind="stable")
    assert not np.array_equal(order, np.arange(40))
    for key in ("z", "images", "log_ratio"):
        assert np.array_equal(content[key], unsorted[key][order]), key
    folder = draw(plain, "n=40", "rank=log_ratio", "format=png", f"out={tmp_path}/files")
    rows = list(csv.DictReader((folder / "samples.csv").read_text().splitlines()))
    np.testing.assert_allclose([float(row["log_ratio"]) for row in rows], content["log_ratio"], rtol=1e-5)
    assert np.array_equal(tiles(draw(plain, "n=40", "rank=log_ratio"), 7)[:40], content["images"])


def test_classes_stand_in_rows_over_the_same_z_and_are_ranked_inside(
    labeled: Path, tmp_path: Path, draw: Callable[..., Path]
) -> None:
    trained = load_run(labeled)
    z, labels = latents_of(0, 5).repeat(4, 1), torch.arange(4).repeat_interleave(5)
    with torch.no_grad():
        floats = trained.networks.generator(z, labels)
        ratios = trained.networks.discriminator(floats, labels)[0].view(4, 5)
    images = to_uint8(floats, (-1.0, 1.0)).permute(0, 2, 3, 1).numpy().reshape(4, 5, 32, 32, 3)
    assert np.array_equal(tiles(draw(labeled, "n=5"), 5).reshape(images.shape), images)
    by_rank = tiles(draw(labeled, "n=5", "rank=log_ratio"), 5).reshape(images.shape)
    for row, order in enumerate(ratios.argsort(dim=1, descending=True)):
        assert np.array_equal(by_rank[row], images[row][order])
    of_class = arrays(draw(labeled, "class=007", "n=6", f"out={tmp_path}/a.npz"))
    assert of_class["labels"].tolist() == [3] * 6  # a name before a number
    assert arrays(draw(labeled, "class=2", "n=2", f"out={tmp_path}/b.npz"))["labels"].tolist() == [2, 2]
    drawn = arrays(draw(labeled, "n=400", f"out={tmp_path}/c.npz"))["labels"]
    assert [60 < int((drawn == k).sum()) < 140 for k in range(4)] == [True] * 4
    table = draw(labeled, "n=9", f"out={tmp_path}/d") / "samples.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["class"] for row in rows] == [CLASSES[k] for k in choose_latents(trained, 9, 0).labels.tolist()]


@pytest.mark.parametrize("kind", ["plain", "labeled"])
def test_drawn_without_rejection_they_are_the_images_of_trainings_metrics(
    kind: str, request: pytest.FixtureRequest
) -> None:
    trained: TrainedRun = load_run(request.getfixturevalue(kind))
    networks = trained.networks
    images, labels = generate_images(
        networks.generator,
        count=30,
        latent_dim=8,
        prior="normal",
        image_range=networks.image_range,
        batch_size=100,
        seed=7,
        device=torch.device("cpu"),
        classes=networks.classes,
    )
    drawing = draw_samples(trained, 30, 7)
    assert torch.equal(drawing.images, images)
    assert (drawing.labels is None) == (labels is None)
    assert labels is None or torch.equal(drawing.labels, labels)
    assert drawing.log_ratio is None
    assert drawing.acceptance is None


def test_rejection_keeps_the_more_believable(plain: Path) -> None:
    trained = load_run(plain)
    before = discriminate(trained, choose_latents(trained, 500, 0).z, None)
    drawing = draw_samples(trained, 500, 0, rejection=True)
    assert drawing.images.shape == (500, 3, 32, 32)
    assert drawing.acceptance is not None
    assert 0.1 < drawing.acceptance < 0.6
    torch.testing.assert_close(drawing.log_ratio, discriminate(trained, drawing.z, None), rtol=0, atol=1e-5)
    assert drawing.log_ratio is not None
    error = float(before.std()) * (2 / 500) ** 0.5
    assert float(drawing.log_ratio.mean() - before.mean()) > 3 * error
    again = choose_latents(trained, 500, 0, rejection=True)
    assert torch.equal(again.z, drawing.z)
    more = choose_latents(trained, 500, 0, rejection=True, percentile=20)
    assert more.acceptance is not None
    assert more.acceptance > drawing.acceptance + 0.05


def test_rejection_leaves_the_labels_that_were_asked_for(labeled: Path) -> None:
    trained = load_run(labeled)
    labels = torch.tensor([3, 0, 3, 1, 0, 3])
    latents = choose_latents(trained, 6, 1, labels, rejection=True)
    assert latents.labels is not None
    assert latents.labels.tolist() == labels.tolist()
    torch.testing.assert_close(latents.log_ratio, discriminate(trained, latents.z, labels), rtol=0, atol=1e-5)
    assert choose_latents(trained, 50, 1, rejection=True).labels.unique().tolist() == [0, 1, 2, 3]


def test_without_a_ratio_pearson_logits_rank_last() -> None:
    latents = Latents(z=torch.arange(4.0)[:, None], labels=None, log_ratio=torch.tensor([0.5, -torch.inf, 2, -1]))
    assert ranked(latents).z.flatten().tolist() == [2, 0, 3, 1]


def test_pearson_logits_that_stand_for_no_ratio_are_minus_infinity(tmp_path: Path) -> None:
    trained = load_run(save_run(tmp_path / "run", "loss.disc=pearson"))
    with torch.no_grad():
        trained.networks.discriminator.logit.bias.fill_(-50.0)
    assert bool((discriminate(trained, latents_of(0, 5), None) == -torch.inf).all())
    with pytest.raises(ConfigError, match=r"rejection=true: .* use rejection=false"):
        choose_latents(trained, 5, 0, rejection=True)


def test_truncation_interpolation_and_the_ends_of_rows(plain: Path, tmp_path: Path, draw: Callable[..., Path]) -> None:
    z = arrays(draw(plain, "n=100", "truncation=0.5", f"out={tmp_path}/a.npz"))["z"]
    assert 0.45 < float(np.abs(z).max()) <= 0.5
    picture = draw(plain, "n=3", "interpolate=6")
    ends = to_uint8(load_run(plain).networks.generator(latents_of(0, 6)).detach(), (-1.0, 1.0))
    images = tiles(picture, 6).reshape(3, 6, 32, 32, 3)
    shown = images[:, [0, 5]].reshape(6, 32, 32, 3).astype(int)
    assert int(np.abs(shown - ends.permute(0, 2, 3, 1).numpy()).max()) <= 1
    steps = np.abs(np.diff(images.astype(int), axis=1)).mean(axis=(1, 2, 3, 4))
    assert bool((steps > 0).all())


def test_a_walk_as_gif_and_mp4(plain: Path, labeled: Path, tmp_path: Path, draw: Callable[..., Path]) -> None:
    with Image.open(draw(plain, "walk=1", "n=3")) as picture:
        assert (picture.n_frames, picture.info["loop"], picture.info["duration"]) == (25, 0, 40)
        assert picture.size == (70 * 4, 70 * 4)  # two by two, enlarged fourfold
    film = draw(labeled, "walk=1", "n=4", f"out={tmp_path}/a.mp4")
    raw = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(film), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    read = subprocess.run(raw, capture_output=True, check=True).stdout
    frames = np.frombuffer(read, np.uint8).reshape(-1, 280, 280, 3)
    assert len(frames) == 25
    reference = list(sample_formats.walk_frames(load_run(labeled), torch.arange(4), 4, 0, 1.0, None))
    for k in (0, 12, 24):
        small = (reference[k] * 255).round().permute(1, 2, 0).numpy()
        assert float(np.abs(frames[k][2::4, 2::4] - small).mean()) < 12  # lossy
    assert float((reference[12] - reference[0]).abs().mean()) > 0.02


def test_ffmpeg_missing(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Callable[..., Path]
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ConfigError, match=r"pip install 'gantrain\[video\]', or choose format=gif"):
        draw(plain, "walk=1", f"out={tmp_path}/a.mp4")
    assert list(tmp_path.iterdir()) == []


REFUSED = {
    "two moving things": (["interpolate=4", "walk=2"], "choose one of them"),
    "a ranked walk": (["walk=2", "rank=log_ratio"], "rank chooses among independent samples, and walk"),
    "rejected rows": (["interpolate=4", "rejection=true"], "rejection chooses among"),
    "truncated rejection": (["truncation=1", "rejection=true"], "leave one of them out"),
    "a still walk": (["walk=2", "out=a.png"], "format='grid' is not one"),
    "a moving grid": (["format=gif"], "set walk=4"),
    "interpolation as arrays": (["interpolate=4", "out=a.npz"], "interpolate makes a grid"),
    "an ending against its format": (["format=npz", "out=a.png"], "must end in .npz for format='npz'"),
    "a folder with an ending": (["format=png", "out=a.png"], "a folder of PNGs"),
    "an unknown ending": (["out=a.jpg"], "choose one of [.png, .npz, .gif, .mp4]"),
    "an unknown format": (["format=jpg"], "choose one of [grid, png, npz, gif, mp4]"),
    "an unknown rank": (["rank=fid"], "rank='fid' is not known"),
    "a percentile alone": (["percentile=50"], "set rejection=true"),
    "a percentile of 120": (["rejection=true", "percentile=120"], "between 0 and 100"),
    "no truncation at all": (["truncation=0"], "truncation=0 must lie in (0, 100]"),
    "no samples": (["n=0"], "n=0"),
    "a giant grid": (["n=20000"], "choose format=png"),
    "a minute's walk": (["walk=60"], "between 1 and 30 seconds"),
    "a class of none": (["class=1"], "trained without labels"),
    "nowhere": (["out=no/where.png"], "does not exist"),
    "an unknown network": (["network=mean"], "[ema, raw]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused(
    case: str, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Callable[..., Path]
) -> None:
    words, expected = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as error:
        draw(plain, *words)
    assert expected in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("disc", ["hinge", "tv"])
def test_discriminators_without_a_ratio_are_not_asked(disc: str, tmp_path: Path, draw: Callable[..., Path]) -> None:
    folder = save_run(tmp_path / "run", f"loss.disc={disc}")
    for words in (["rank=log_ratio"], ["rejection=true"]):
        with pytest.raises(ConfigError, match=rf"{words[0]} .*disc='{disc}' estimates no ratio.*\[gan, js, kl"):
            draw(folder, *words)
    assert "log_ratio" not in arrays(draw(folder, "n=2", f"out={tmp_path}/a.npz"))


@pytest.mark.parametrize("prior", ["uniform", "sphere"])
def test_other_priors_walk_and_interpolate_but_have_no_tails(
    prior: str, tmp_path: Path, draw: Callable[..., Path]
) -> None:
    folder = save_run(tmp_path / "run", f"model.prior={prior}")
    for words in (["truncation=1"], ["truncation=1", "walk=1"]):
        with pytest.raises(ConfigError, match=f"model.prior={prior}, which has none"):
            draw(folder, *words)
    assert draw(folder, "walk=1", "n=1").is_file()
    assert draw(folder, "interpolate=3", "n=2").is_file()


def test_the_same_words_draw_the_same_picture_and_never_over_another(
    labeled: Path, tmp_path: Path, draw: Callable[..., Path]
) -> None:
    first = draw(labeled, "class=007", "n=5", "network=raw")
    assert draw(labeled, "class=3", "n=5", "network=raw", f"out={tmp_path}/a.png").read_bytes() == first.read_bytes()
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        draw(labeled, "class=007", "n=5", "network=raw")
    for label in ("cat", "1000"):
        with pytest.raises(ConfigError, match=f"class='{label}' is not a class of the run"):
            draw(labeled, f"class={label}")
    with pytest.raises(CheckpointError, match="does not exist"):
        draw(tmp_path / "nowhere")


def test_nothing_is_left_of_what_fails(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Callable[..., Path]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    for words in (["format=png", f"out={tmp_path}/files"], [f"out={tmp_path}/a.png"]):
        with pytest.raises(OSError, match="No space"):
            draw(plain, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_sampling_from_a_run_of_the_command_line(
    gantrain: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    words = [*TINY, "model.latent_dim=4", "hydra.run.dir=run", "log.grid_images=9"]
    assert gantrain(*words, "cond=projection", "schedule.steps=2").returncode == 0
    rows = [row for row in read_rows(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "metric"]
    assert {"modes", "class_accuracy"} <= {row["name"] for row in rows}
    for path in (tmp_path / "run").rglob("*"):  # the checkpoint is all that is needed
        if path.is_file() and path.name != "last.pt":
            path.unlink()
    drawn = gantrain("sample", "run=run", "class=007", "n=5")
    assert drawn.returncode == 0, drawn.stderr
    assert pixels_of(tmp_path / drawn.stdout.strip()).shape == (70, 104, 3)
    refused = gantrain("sample", "run=run", "class=cat")
    assert refused.returncode == 2
    assert "class='cat' is not a class of the run" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
