"""The classifier of a data set: what it learns, its held-out accuracy, and its cache."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gantrain.data import ImageSet
from gantrain.metrics import classifier
from gantrain.metrics.classifier import ImageClassifier, train_classifier

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    monkeypatch.setattr(classifier, "MIN_STEPS", 60)
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    monkeypatch.setattr(classifier, "BATCH", 32)


def stripes(labels: Tensor, seed: int) -> Tensor:
    """Noise over horizontal stripes for class 0, vertical ones for 1, none for 2."""
    x = torch.arange(16)
    wave = (120 + 60 * (x % 4 < 2)).float()
    patterns = torch.stack((wave.view(-1, 1).expand(16, 16), wave.expand(16, 16), torch.full((16, 16), 150.0)))
    noise = 25 * torch.randn(len(labels), 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return (patterns[labels].unsqueeze(1) + noise).clamp(0, 255).to(torch.uint8)


def of_stripes(count: int, seed: int) -> ImageSet:
    labels = torch.randint(3, (count,), generator=torch.Generator().manual_seed(seed))
    return ImageSet("stripes-train", stripes(labels, seed), labels, ("across", "down", "none"))


def test_it_classifies_new_images_and_reports_its_accuracy() -> None:
    train, test = of_stripes(600, 1), of_stripes(200, 2)
    found = train_classifier(train, test, CPU)
    right = found.classes(test.images) == test.labels
    assert float(right.double().mean()) > 0.95
    assert found.accuracy == pytest.approx(float(right.double().mean()))
    assert found.held_out == 200
    assert found.held_out_counts.tolist() == torch.bincount(found.classes(test.images), minlength=3).tolist()
    assert found.trained_on == "stripes-train (600 images)"


def test_without_a_test_split_a_fifth_is_held_out() -> None:
    """With random labels the held-out accuracy is chance, however well the training images are learned."""
    images = of_stripes(400, 3)
    labels = torch.randint(3, (400,), generator=torch.Generator().manual_seed(4))
    found = train_classifier(ImageSet("noise-train", images.images, labels, images.classes), None, CPU)
    assert found.held_out == 80
    assert found.trained_on == "noise-train (320 images)"
    assert 0.15 < found.accuracy < 0.55


def test_it_is_cached_and_a_damaged_cache_is_trained_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = of_stripes(300, 5)
    before = torch.get_rng_state()
    first = train_classifier(train, None, CPU)
    assert torch.equal(before, torch.get_rng_state()), "training draws nothing from the global generator"
    (path,) = tmp_path.glob("classifier-*.pt")
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "_train", None)
        again = train_classifier(train, None, CPU)
    assert again.digest == first.digest
    assert torch.equal(again.classes(train.images), first.classes(train.images))
    assert (again.accuracy, again.held_out) == (first.accuracy, first.held_out)
    path.write_bytes(path.read_bytes()[:1000])
    assert train_classifier(train, None, CPU).digest == first.digest
    assert "is damaged" in caplog.text
    other = ImageSet(train.name, train.images, (train.labels + 1) % 3, train.classes)
    train_classifier(other, None, CPU)
    assert len(list(tmp_path.glob("classifier-*.pt"))) == 2, "other labels give another classifier"


def by_brightness(accuracy: float, counts: list[int]) -> ImageClassifier:
    """Classifies black, grey and white images."""

    class Brightness(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.levels = torch.nn.Parameter(torch.tensor([-2.0, 0.0, 2.0]))

        def forward(self, images: Tensor) -> Tensor:
            return -(images.mean(dim=(1, 2, 3)).unsqueeze(1) - self.levels).abs()

    return ImageClassifier(Brightness(), accuracy, sum(counts), torch.tensor(counts), "0", "shades")


def test_global_max_pooling_and_its_gradient_equal_pytorchs() -> None:
    source = torch.Generator().manual_seed(0)
    one, other = (torch.randn(8, 5, 4, 4, generator=source).requires_grad_() for _ in range(2))
    other.data.copy_(one)
    wanted = torch.nn.AdaptiveMaxPool2d(1)(one.relu())
    found = classifier._GlobalMaxPool()(other.relu())
    assert torch.equal(found, wanted)
    for values in (found, wanted):
        values.square().sum().backward()
    assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]
