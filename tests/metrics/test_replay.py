"""When a forward pass is captured and replayed, without a GPU; tests/gpu captures for real."""

import pytest
import torch
from torch import Tensor

from gantrain.metrics import replay
from gantrain.metrics.replay import Forward, GraphedForward


def doubled(batch: Tensor) -> dict[str, Tensor]:
    return {"twice": batch * 2}


@pytest.mark.parametrize("captures", [True, False])
def test_one_graph_per_shape_of_full_batches_is_captured_unless_on_a_cpu(
    captures: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured: list[torch.Size] = []

    def capture(forward: Forward, example: Tensor) -> Forward:
        captured.append(example.shape)
        return lambda batch: {"twice": forward(batch)["twice"] + 100}

    monkeypatch.setattr(replay, "capture", capture)
    forward = GraphedForward(doubled, batch_size=4, device=torch.device("cpu"))
    forward._captures |= captures
    for count, width in ((4, 3), (4, 3), (2, 3), (4, 5)):
        replayed = captures and count == 4
        assert forward(torch.ones(count, width))["twice"].unique().tolist() == [102 if replayed else 2]
    assert captured == ([torch.Size((4, 3)), torch.Size((4, 5))] if captures else [])


def test_a_failed_capture_is_logged_once_and_the_forward_runs_eagerly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(forward: Forward, example: Tensor) -> Forward:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(replay, "capture", refuse)
    forward = GraphedForward(doubled, batch_size=4, device=torch.device("cpu"))
    forward._captures = True
    for _ in range(2):
        assert torch.equal(forward(torch.ones(4, 3))["twice"], torch.full((4, 3), 2.0))
    (message,) = caplog.messages
    assert "cannot be captured as a CUDA graph (operation not permitted when stream is capturing)" in message
