"""The embedded digits."""

import torch

from gantrain.data.digits import DigitClassifier, _scans, load_stacked_digits


def test_stacked_digits_cover_the_modes_evenly() -> None:
    data = load_stacked_digits("train")
    assert data.images.shape == (25_000, 3, 32, 32)
    assert data.images.dtype == torch.uint8
    counts = torch.bincount(data.labels, minlength=1000)
    assert len(counts) == 1000
    assert int(counts.min()) > 0
    assert torch.equal(data.images, load_stacked_digits("train").images)


def test_training_and_held_out_scans_are_disjoint() -> None:
    train, test = _scans("train")[0], _scans("test")[0]
    assert len(train) + len(test) == 1797
    seen = {scan.numpy().tobytes() for scan in train}
    assert len(seen & {scan.numpy().tobytes() for scan in test}) <= 1  # the set may contain a duplicate


def test_the_classifier_reads_held_out_digits_and_the_three_channels_of_an_image() -> None:
    classifier = DigitClassifier()
    scans, digits = _scans("test")
    assert float((classifier.digits(scans) == digits).float().mean()) >= 0.95
    data = load_stacked_digits("test")
    assert float((classifier.modes(data.images[:500]) == data.labels[:500]).float().mean()) > 0.9
