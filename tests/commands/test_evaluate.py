"""`gantrain evaluate`: what it computes, writes and refuses."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from gantrain import builders
from gantrain.commands import evaluate
from gantrain.commands.evaluate import Options
from gantrain.commands.options import parse_words
from gantrain.config import ConfigError
from gantrain.data import DataError
from gantrain.metrics import classifier
from gantrain.metrics.inception import WeightsError
from tests.conftest import TINY, compose

CHEAP = "metrics=modes,colors"
DIGITS = ("samples=60", "device=cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    builders.run(compose(*TINY, "metrics=none"), folder)
    return folder


def evaluate_words(*words: str) -> None:
    evaluate.run(parse_words(Options, "evaluate", list(words)))


def write_images(folder: Path, count: int, *, seed: int, dark: bool = False, size: int = 32) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    for k in range(count):
        image = torch.randint(0, 100 if dark else 256, (3, size, size), dtype=torch.uint8, generator=generator)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{k:03d}.png")
    return folder


def values_in(path: Path) -> dict[str, dict[str, Any]]:
    return {value["name"]: value for value in json.loads(path.read_text())["metric_values"]}


@pytest.mark.slow
def test_a_run_is_measured_from_its_checkpoint(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (f"run={trained}", *DIGITS, CHEAP, "bootstrap=20")
    evaluate_words(*words)
    out = capsys.readouterr().out
    assert "95 % interval" in out
    assert "real images" in out
    path = trained / "evaluation-step6-ema-seed0.json"
    content = json.loads(path.read_text())
    assert (content["step"], content["network"], content["checkpoint"]) == (6, "ema", "last")
    assert content["pictures"] == ["evaluation-step6-ema-seed0-colors.png"]
    assert (trained / content["pictures"][0]).read_bytes()[1:4] == b"PNG"
    found = values_in(path)
    assert set(found) == {"modes", "modes_kl", "color_js", "green_brown"}
    for name, value in found.items():
        assert value["protocol"]["samples"] == 60
        assert name in out
        if "interval" in value:
            assert value["interval"][0] <= value["value"] <= value["interval"][1]
    with_interval = {name for name, value in found.items() if "interval" in value}
    assert {"color_js"} <= with_interval <= set(found) - {"modes"}  # samples of a single mode or color have none
    before = path.read_bytes()
    evaluate_words(*words)
    assert path.read_bytes() == before, "the first file is unchanged"
    second = trained / "evaluation-step6-ema-seed0-2.json"
    assert values_in(second) == found, "the same seed gives the same values"
    evaluate_words(*words, "network=raw", "seed=1", f"out={tmp_path}/other.json")
    other = values_in(tmp_path / "other.json")
    assert other["color_js"]["value"] != found["color_js"]["value"]
    assert (tmp_path / "other-colors.png").is_file()
    assert not list(trained.glob(".*")), "no temporary file is left"


def test_several_seeds_give_mean_and_standard_deviation(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (f"run={trained}", *DIGITS, "metrics=colors")
    for seed in range(3):
        evaluate_words(*words, f"seed={seed}", f"out={tmp_path}/{seed}.json")
    evaluate_words(*words, "seeds=3", f"out={tmp_path}/all.json")
    single = [values_in(tmp_path / f"{seed}.json")["color_js"]["value"] for seed in range(3)]
    value = values_in(tmp_path / "all.json")["color_js"]
    assert value["value"] == pytest.approx(statistics.fmean(single))
    assert value["protocol"]["std"] == pytest.approx(statistics.stdev(single))
    assert value["protocol"]["std"] > 0
    assert value["protocol"]["seeds"] == 3
    assert "std of 3 seeds" in capsys.readouterr().out


def test_auto_computes_all_metrics_possible_for_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reference of two classes, and no Inception weights."""

    def no_weights(_: str | None) -> None:
        raise WeightsError("no weights in tests")

    monkeypatch.setattr(evaluate, "find_inception_weights", no_weights)
    monkeypatch.setattr(classifier, "MIN_STEPS", 30)
    monkeypatch.chdir(tmp_path)
    for name, dark, seed in (("bright", False, 0), ("dark", True, 1)):
        write_images(tmp_path / "real" / name, 30, seed=seed, dark=dark)
        write_images(tmp_path / "mine" / name, 10, seed=seed + 2, dark=True)
    evaluate_words("images=mine", "reference=real", "device=cpu")
    assert "without fid, kid, inception_score, precision, recall, density, coverage: no weights" in caplog.text
    found = values_in(tmp_path / "evaluation-mine.json")
    wanted = {"classes", "classes_kl", "class_accuracy", "color_js", "green_brown"}
    assert set(found) == wanted | {"duplicates", "exact_duplicates", "memorized", "train_distance"}
    assert found["classes"]["protocol"]["held_out_accuracy"] == 1.0
    assert found["classes"]["value"] == 1
    assert found["class_accuracy"]["value"] == 0.5  # the folder "bright" holds dark images
    pictures = {f"evaluation-mine-{name}.png" for name in ("classes", "colors", "neighbors")}
    assert pictures <= {path.name for path in tmp_path.iterdir()}
    with pytest.raises(WeightsError, match="no weights"):
        evaluate_words("images=mine", "reference=real", "device=cpu", "metrics=fid,colors")


def test_seed_chooses_among_the_images_of_a_folder(tmp_path: Path) -> None:
    folder, real = write_images(tmp_path / "mine", 30, seed=0), write_images(tmp_path / "real", 20, seed=1)
    words = (f"images={folder}", f"reference={real}", "samples=10", "metrics=colors", "device=cpu")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        evaluate_words(*words, f"seed={seed}", f"out={tmp_path}/{name}.json")
    a, b, c = (values_in(tmp_path / f"{name}.json")["color_js"]["value"] for name in "abc")
    assert a == b != c


FOLDER = ("images=a", "reference=digits")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ["either run=RUN or images=FOLDER"]),
        (("run=a", "images=b"), ["either run=RUN"]),
        (("images=a",), ["needs a reference", "cifar10-test"]),
        ((*FOLDER, "seeds=3"), ["seeds=3 only applies with run=", "bootstrap=100"]),
        ((*FOLDER, "network=raw"), ["network=raw only applies with run="]),
        ((*FOLDER, "checkpoint=best"), ["checkpoint=best only applies with run="]),
        ((*FOLDER, "root=b"), ["root='b'", "leave it out"]),
        (("run=a", "image_size=64"), ["image_size=64 only applies with images="]),
        (("run=a", "seeds=3", "bootstrap=50"), ["bootstrap=50 and seeds=3", "choose one"]),
        (("run=a", "precision=tf32"), ["precision='tf32'", "auto, float32, bf16"]),
        (("run=a", "batch_size=0"), ["batch_size=0", "between 1"]),
        (("run=a", "bootstrap=3"), ["bootstrap=3", "between 20"]),
        (("run=a", "samples=9"), ["samples=9", "between 10"]),
        (("run=a", "metrics=fvd"), ["metrics=fvd", "density"]),
        (("run=a", "metrics=auto,fid"), ["metrics=auto is unknown", "auto on its own"]),
        (("run=a", "metrics=fid,fid"), ["at least one metric, without repetitions"]),
    ],
)
def test_options_that_cannot_be_combined(words: tuple[str, ...], expected: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse_words(Options, "evaluate", list(words))
    for part in expected:
        assert part in str(error.value)


def test_options_that_do_not_fit_the_data(trained: Path, tmp_path: Path) -> None:
    mine = write_images(tmp_path / "mine", 12, seed=0)
    few = write_images(tmp_path / "few", 4, seed=0)
    images = (f"images={mine}", f"reference={mine}", "device=cpu")
    for words, error, expected in (
        ((*images, "metrics=modes"), ConfigError, "metrics=modes: it cannot be computed on images"),
        ((*images, "metrics=classes"), ConfigError, "metrics=classes: folder-mine has no classes"),
        ((*images, "metrics=colors", "samples=13"), ConfigError, "contains 12 images, but 13 are needed"),
        ((f"run={trained}", "metrics=classes", *DIGITS), ConfigError, "it cannot be computed on digits"),
        (("images=gone", f"reference={mine}"), DataError, "images='gone' is not a folder"),
        ((f"images={mine}", "reference=gone"), DataError, "reference='gone' is not a folder"),
        ((f"images={few}", f"reference={mine}", "metrics=colors"), ConfigError, "contains 4 images"),
        ((f"images={mine}", f"reference={few}", "metrics=colors"), ConfigError, "at least 10 are needed"),
        ((f"images={mine}", "reference=digits", "image_size=64"), ConfigError, "image_size=64: the images of digits"),
        ((*images, "out=nowhere/a.json"), ConfigError, "'nowhere' is not a writable folder"),
        ((*images, f"out={tmp_path}/a.txt"), ConfigError, "must end in .json"),
    ):
        with pytest.raises(error, match=expected):
            evaluate_words(*words)
    (tmp_path / "taken-colors.png").write_text("mine")
    with pytest.raises(ConfigError, match=r"taken-colors\.png' already exists and will not be overwritten"):
        evaluate_words(*images, f"out={tmp_path}/taken.json")
    assert {p.name for p in tmp_path.iterdir()} == {"mine", "few", "taken-colors.png"}


@pytest.mark.slow
def test_from_the_command_line(gantrain: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    words = ("evaluate", f"run={trained}", *DIGITS, "metrics=colors", f"out={tmp_path}/a.json")
    done = gantrain(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [f"{tmp_path}/a.json", f"{tmp_path}/a-colors.png"]
    refused = gantrain(*words)
    assert refused.returncode == 2
    assert "already exists and will not be overwritten" in refused.stderr


@pytest.mark.slow
@pytest.mark.inception
def test_inception_metrics_with_planted_copies(inception_file: Path, tmp_path: Path) -> None:
    """Half of the images are copies of the reference."""
    real = write_images(tmp_path / "real", 16, seed=0)
    mine = write_images(tmp_path / "mine", 8, seed=9, dark=True)
    for path in sorted(real.iterdir())[:8]:
        (mine / f"copy-{path.name}").write_bytes(path.read_bytes())
    names = "fid,kid,precision,recall,density,coverage,duplicates,neighbors"
    words = (f"images={mine}", f"reference={real}", "device=cpu", f"inception_weights={inception_file}")
    evaluate_words(*words, f"metrics={names}", f"out={tmp_path}/a.json", "bootstrap=20")
    found = values_in(tmp_path / "a.json")
    assert set(names.split(",")) - {"neighbors"} <= set(found)
    assert found["memorized"]["value"] == 0.5
    assert found["memorized"]["protocol"]["space"] == "Inception features"
    assert found["precision"]["value"] >= 0.5
    assert found["fid"]["value"] > 1
    assert (tmp_path / "a-neighbors.png").is_file()


def test_labels_are_matched_by_class_name() -> None:
    labels = torch.tensor([0, 1, 2, 1])
    found = evaluate.match_labels(labels, ("a", "b", "c"), ("c", "x", "b", "a"))
    assert found is not None
    assert found.tolist() == [3, 2, 0, 2]
    assert evaluate.match_labels(labels, ("a", "b", "c"), ("a", "b")) is None
    assert evaluate.match_labels(None, ("a", "b", "c"), ("a", "b", "c")) is None
