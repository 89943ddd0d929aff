"""`gantrain sample` needs only the checkpoint, and writes the order and formats that its options request."""

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

from gantrain.commands import sample
from gantrain.commands.drawing import Latents, choose_latents, discriminate, draw_samples
from gantrain.commands.options import parse_words
from gantrain.commands.trained import load_run
from gantrain.config import ConfigError
from gantrain.data import to_uint8
from gantrain.metrics.sampling import generate_images
from gantrain.networks import sample_latent
from gantrain.training.checkpoint import CheckpointError
from tests.commands.saved_runs import CLASSES, save_run
from tests.conftest import TINY

Draw = Callable[..., Path]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "labeled", "cond=projection")


@pytest.fixture
def draw(capsys: pytest.CaptureFixture[str]) -> Draw:
    """Runs `gantrain sample` in this process and returns the path that it prints."""

    def run(folder: Path, *words: str) -> Path:
        capsys.readouterr()
        sample.run(parse_words(sample.Options, "sample", [f"run={folder}", "device=cpu", *words]))
        return Path(capsys.readouterr().out.strip())

    return run


def arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(path) as content:
        return dict(content)


def latents_of(seed: int, count: int) -> Tensor:
    return sample_latent("normal", (count, 8), torch.Generator().manual_seed(seed))


def pixels_of(picture: Path) -> npt.NDArray[np.uint8]:
    with Image.open(picture) as opened:
        return np.asarray(opened.convert("RGB"))


def as_pixels(images: Tensor) -> npt.NDArray[np.uint8]:
    return to_uint8(images.detach(), (-1.0, 1.0)).permute(0, 2, 3, 1).numpy()


def tiles(picture: Path, columns: int) -> npt.NDArray[np.uint8]:
    """The images of a grid, row by row."""
    grid = pixels_of(picture)
    rows = (grid.shape[0] - 2) // 34
    corners = [(2 + 34 * row, 2 + 34 * column) for row in range(rows) for column in range(columns)]
    return np.stack([grid[top : top + 32, left : left + 32] for top, left in corners])


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "samples.csv").read_text().splitlines()))


def test_images_and_ratios_are_those_of_the_checkpoint(plain: Path, tmp_path: Path, draw: Draw) -> None:
    content = arrays(draw(plain, "n=150", "seed=3", f"out={tmp_path}/a.npz"))
    assert set(content) == {"images", "z", "log_ratio"}
    z = latents_of(3, 150)
    assert np.array_equal(content["z"], z.numpy())
    networks = load_run(plain).networks
    with torch.no_grad():
        images = networks.generator(z)
        logits = networks.discriminator(images)  # disc=gan: the logit is log r
    assert content["images"].dtype == np.uint8
    difference = as_pixels(images).astype(int) - content["images"]
    assert int(np.abs(difference).max()) <= 1  # the batch size differs
    assert float(content["images"].std(axis=0).mean()) > 5, "images that differ"
    np.testing.assert_allclose(content["log_ratio"], logits.numpy(), atol=1e-5)


def test_pngs_grid_and_arrays_hold_the_same_images(plain: Path, tmp_path: Path, draw: Draw) -> None:
    images = arrays(draw(plain, "n=12", f"out={tmp_path}/a.npz"))["images"]
    folder = draw(plain, "n=12", "format=png", f"out={tmp_path}/files")
    names = [f"{k:02d}.png" for k in range(12)]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "samples.csv"]
    assert np.array_equal(np.stack([pixels_of(folder / name) for name in names]), images)
    grid = draw(plain, "n=12")
    assert grid.parent == plain / "samples"
    assert np.array_equal(tiles(grid, 4), images)


def test_rank_sorts_by_descending_ratio(plain: Path, tmp_path: Path, draw: Draw) -> None:
    unsorted = arrays(draw(plain, "n=40", f"out={tmp_path}/a.npz"))
    content = arrays(draw(plain, "n=40", "rank=log_ratio", f"out={tmp_path}/b.npz"))
    order = np.argsort(-unsorted["log_ratio"], kind="stable")
    assert not np.array_equal(order, np.arange(40))
    for key in ("z", "images", "log_ratio"):
        assert np.array_equal(content[key], unsorted[key][order]), key
    rows = table(draw(plain, "n=40", "rank=log_ratio", "format=png", f"out={tmp_path}/files"))
    np.testing.assert_allclose([float(row["log_ratio"]) for row in rows], content["log_ratio"], rtol=1e-5)
    assert np.array_equal(tiles(draw(plain, "n=40", "rank=log_ratio"), 7)[:40], content["images"])
    latents = Latents(torch.arange(4.0)[:, None], log_ratio=torch.tensor([0.5, -torch.inf, 2, -1]))
    assert latents.ranked().z.flatten().tolist() == [2, 0, 3, 1]  # -inf, an undefined ratio, comes last


def test_a_grid_has_a_row_per_class_with_the_same_z_ranked_within_rows(labeled: Path, draw: Draw) -> None:
    networks = load_run(labeled).networks
    z, labels = latents_of(0, 5).repeat(4, 1), torch.arange(4).repeat_interleave(5)
    with torch.no_grad():
        images = networks.generator(z, labels)
        ratios = networks.discriminator(images, labels)[0].view(4, 5)
    rows = as_pixels(images).reshape(4, 5, 32, 32, 3)
    assert np.array_equal(tiles(draw(labeled, "n=5"), 5).reshape(rows.shape), rows)
    ranked = tiles(draw(labeled, "n=5", "rank=log_ratio"), 5).reshape(rows.shape)
    for row, order in enumerate(ratios.argsort(dim=1, descending=True)):
        assert np.array_equal(ranked[row], rows[row][order])


def test_class_is_a_name_or_a_number_and_by_default_drawn_uniformly(labeled: Path, tmp_path: Path, draw: Draw) -> None:
    by_name = arrays(draw(labeled, "class=007", "n=6", f"out={tmp_path}/a.npz"))
    assert by_name["labels"].tolist() == [3] * 6  # names take precedence over numbers
    assert arrays(draw(labeled, "class=2", "n=2", f"out={tmp_path}/b.npz"))["labels"].tolist() == [2, 2]
    drawn = arrays(draw(labeled, "n=400", f"out={tmp_path}/c.npz"))["labels"]
    assert all(60 < int((drawn == k).sum()) < 140 for k in range(4))
    labels = choose_latents(load_run(labeled), 9, 0).labels
    assert labels is not None
    assert [row["class"] for row in table(draw(labeled, "n=9", f"out={tmp_path}/d"))] == [CLASSES[k] for k in labels]
    for label in ("cat", "1000"):
        with pytest.raises(ConfigError, match=f"class='{label}' is not a class of the run"):
            draw(labeled, f"class={label}")


@pytest.mark.parametrize("kind", ["plain", "labeled"])
def test_samples_without_rejection_are_those_that_training_measures(kind: str, request: pytest.FixtureRequest) -> None:
    trained = load_run(request.getfixturevalue(kind))
    images, labels = generate_images(
        trained.networks.generator,
        count=30,
        latent_dim=8,
        prior="normal",
        image_range=(-1.0, 1.0),
        batch_size=100,
        seed=7,
        device=torch.device("cpu"),
        classes=trained.networks.classes,
    )
    latents, drawn = draw_samples(trained, 30, 7)
    assert torch.equal(drawn, images)
    assert (labels is None) == (latents.labels is None) == (kind == "plain")
    assert labels is None or torch.equal(latents.labels, labels)


def test_rejection_accepts_samples_of_larger_ratio(plain: Path) -> None:
    trained = load_run(plain)
    before = discriminate(trained, choose_latents(trained, 500, 0).z, None)
    latents, images = draw_samples(trained, 500, 0, rejection=True)
    assert images.shape == (500, 3, 32, 32)
    assert latents.acceptance is not None
    assert latents.log_ratio is not None
    assert 0.1 < latents.acceptance < 0.6
    torch.testing.assert_close(latents.log_ratio, discriminate(trained, latents.z, None), rtol=0, atol=1e-5)
    error = float(before.std()) * (2 / 500) ** 0.5
    assert float(latents.log_ratio.mean() - before.mean()) > 3 * error
    assert torch.equal(choose_latents(trained, 500, 0, rejection=True).z, latents.z)
    more = choose_latents(trained, 500, 0, rejection=True, percentile=20).acceptance
    assert more is not None
    assert more > latents.acceptance + 0.05


def test_rejection_keeps_requested_labels(labeled: Path) -> None:
    trained = load_run(labeled)
    labels = torch.tensor([3, 0, 3, 1, 0, 3])
    latents = choose_latents(trained, 6, 1, labels, rejection=True)
    assert latents.labels is not None
    assert latents.labels.tolist() == labels.tolist()
    torch.testing.assert_close(latents.log_ratio, discriminate(trained, latents.z, labels), rtol=0, atol=1e-5)
    assert choose_latents(trained, 50, 1, rejection=True).labels.unique().tolist() == [0, 1, 2, 3]


def test_undefined_ratios_are_minus_infinity_and_cannot_be_rejected_by(tmp_path: Path) -> None:
    trained = load_run(save_run(tmp_path / "run", "loss.disc=pearson"))
    with torch.no_grad():
        trained.networks.discriminator.logit.bias.fill_(-50.0)
    assert bool((discriminate(trained, latents_of(0, 5), None) == -torch.inf).all())
    with pytest.raises(ConfigError, match=r"rejection=true: .* use rejection=false"):
        choose_latents(trained, 5, 0, rejection=True)


def test_truncation_limits_z(plain: Path, tmp_path: Path, draw: Draw) -> None:
    z = arrays(draw(plain, "n=100", "truncation=0.5", f"out={tmp_path}/a.npz"))["z"]
    assert 0.45 < float(np.abs(z).max()) <= 0.5


def test_rows_of_an_interpolation_start_and_end_at_samples(plain: Path, draw: Draw) -> None:
    rows = tiles(draw(plain, "n=3", "interpolate=6"), 6).reshape(3, 6, 32, 32, 3).astype(int)
    ends = as_pixels(load_run(plain).networks.generator(latents_of(0, 6)))
    assert int(np.abs(rows[:, [0, 5]].reshape(6, 32, 32, 3) - ends).max()) <= 1
    assert bool((np.abs(np.diff(rows, axis=1)).mean(axis=(1, 2, 3, 4)) > 0).all())


def test_a_walk_is_a_gif_or_an_mp4(plain: Path, labeled: Path, tmp_path: Path, draw: Draw) -> None:
    with Image.open(draw(plain, "walk=1", "n=3")) as picture:
        assert (picture.n_frames, picture.info["loop"], picture.info["duration"]) == (25, 0, 40)
        assert picture.size == (70 * 4, 70 * 4)  # two by two, enlarged fourfold
    film = draw(labeled, "walk=1", "n=4", f"out={tmp_path}/a.mp4")
    raw = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(film), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    frames = np.frombuffer(subprocess.run(raw, capture_output=True, check=True).stdout, np.uint8)
    frames = frames.reshape(25, 280, 280, 3)
    wanted = list(sample.walk_frames(load_run(labeled), torch.arange(4), 4, 0, 1.0, None))
    for k in (0, 12, 24):
        small = (wanted[k] * 255).round().permute(1, 2, 0).numpy()
        assert float(np.abs(frames[k][2::4, 2::4] - small).mean()) < 12  # the codec is lossy
    assert float((wanted[12] - wanted[0]).abs().mean()) > 0.02


@pytest.mark.parametrize("prior", ["uniform", "sphere"])
def test_other_priors_walk_and_interpolate_but_cannot_be_truncated(prior: str, tmp_path: Path, draw: Draw) -> None:
    folder = save_run(tmp_path / "run", f"model.prior={prior}")
    for words in (["truncation=1"], ["truncation=1", "walk=1"]):
        with pytest.raises(ConfigError, match=f"but the run has model.prior={prior}"):
            draw(folder, *words)
    assert draw(folder, "walk=1", "n=1").is_file()
    assert draw(folder, "interpolate=3", "n=2").is_file()


@pytest.mark.parametrize("disc", ["hinge", "tv"])
def test_rank_and_rejection_need_a_discriminator_with_a_ratio(disc: str, tmp_path: Path, draw: Draw) -> None:
    folder = save_run(tmp_path / "run", f"loss.disc={disc}")
    for word in ("rank=log_ratio", "rejection=true"):
        with pytest.raises(ConfigError, match=rf"{word} .*disc='{disc}' estimates no ratio.*\[gan, js, kl"):
            draw(folder, word)
    assert "log_ratio" not in arrays(draw(folder, "n=2", f"out={tmp_path}/a.npz"))


REFUSED = {
    "interpolate=4 walk=2": "choose one of them",
    "walk=2 rank=log_ratio": "rank chooses among independent samples, which walk",
    "interpolate=4 rejection=true": "rejection chooses among",
    "truncation=1 rejection=true": "leave one of them out",
    "walk=2 out=a.png": "format='grid' is not one",
    "format=gif": "set walk=4",
    "interpolate=4 out=a.npz": "interpolate makes a grid",
    "format=npz out=a.png": "must end in .npz for format='npz'",
    "format=png out=a.png": "a folder of PNGs",
    "out=a.jpg": "choose one of [.png, .npz, .gif, .mp4]",
    "format=jpg": "choose one of [grid, png, npz, gif, mp4]",
    "rank=fid": "rank='fid' is unknown",
    "percentile=50": "set rejection=true",
    "rejection=true percentile=120": "between 0 and 100",
    "truncation=0": "must be in (0, 100]",
    "n=0": "n=0",
    "walk=60": "between 1 and 30",
    "class=1": "trained without labels",
    "out=no/where.png": "does not exist",
    "network=mean": "[ema, raw]",
}


@pytest.mark.parametrize("words", REFUSED)
def test_contradictory_or_unknown_options_are_refused(
    words: str, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Draw
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as error:
        draw(plain, *words.split())
    assert REFUSED[words] in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_mp4_without_ffmpeg_is_refused(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Draw
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ConfigError, match=r"pip install 'gantrain\[video\]', or choose format=gif"):
        draw(plain, "walk=1", f"out={tmp_path}/a.mp4")


def test_equal_options_give_equal_files_and_overwrite_nothing(labeled: Path, tmp_path: Path, draw: Draw) -> None:
    first = draw(labeled, "class=007", "n=5", "network=raw")
    assert draw(labeled, "class=3", "n=5", "network=raw", f"out={tmp_path}/a.png").read_bytes() == first.read_bytes()
    with pytest.raises(ConfigError, match="will not be overwritten"):
        draw(labeled, "class=007", "n=5", "network=raw")
    with pytest.raises(CheckpointError, match="does not exist"):
        draw(tmp_path / "nowhere")


def test_a_failed_write_leaves_no_file(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Draw
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    for words in (["format=png", f"out={tmp_path}/files"], [f"out={tmp_path}/a.png"]):
        with pytest.raises(OSError, match="No space"):
            draw(plain, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_sample_needs_only_the_checkpoint_of_a_run_of_the_command_line(
    gantrain: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    words = [*TINY, "model.latent_dim=4", "hydra.run.dir=run", "log.grid_images=9"]
    assert gantrain(*words, "cond=projection", "schedule.steps=2").returncode == 0
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file() and path.name != "last.pt":
            path.unlink()
    drawn = gantrain("sample", "run=run", "class=007", "n=5")
    assert drawn.returncode == 0, drawn.stderr
    assert pixels_of(tmp_path / drawn.stdout.strip()).shape == (70, 104, 3)
    refused = gantrain("sample", "run=run", "class=cat")
    assert refused.returncode == 2
    assert "class='cat' is not a class of the run" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
