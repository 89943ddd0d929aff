"""When a forward pass is captured and replayed, without a GPU; tests/gpu captures for real."""

import pytest
import torch
from torch import Tensor

from gantrain.metrics import replay
from gantrain.metrics.replay import Forward, GraphedForward


def doubled(batch: Tensor) -> dict[str, Tensor]:
    return {"twice": batch * 2}


def capturing(batch_size: int) -> GraphedForward:
    """One that captures, on CPU tensors."""
    made = GraphedForward(doubled, batch_size=batch_size, device=torch.device("cpu"))
    made._captures = True
    return made


def test_one_graph_per_shape_is_captured_and_replayed_on_full_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[torch.Size] = []
    replayed: list[int] = []

    def capture(forward: Forward, example: Tensor) -> Forward:
        captured.append(example.shape)

        def graph(batch: Tensor) -> dict[str, Tensor]:
            replayed.append(len(batch))
            return forward(batch)

        return graph

    monkeypatch.setattr(replay, "capture", capture)
    forward = capturing(4)
    for count, width in ((4, 3), (4, 3), (2, 3), (4, 5)):
        batch = torch.full((count, width), float(count))
        torch.testing.assert_close(forward(batch)["twice"], torch.full((count, width), 2.0 * count))
    assert captured == [torch.Size((4, 3)), torch.Size((4, 5))]
    assert replayed == [4, 4, 4]
    forward = GraphedForward(doubled, batch_size=4, device=torch.device("cpu"))
    assert torch.equal(forward(torch.ones(4, 3))["twice"], torch.full((4, 3), 2.0))
    assert len(captured) == 2, "nothing is captured on a CPU"


def test_a_failed_capture_is_logged_once_and_the_forward_runs_eagerly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(forward: Forward, example: Tensor) -> Forward:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(replay, "capture", refuse)
    forward = capturing(4)
    for _ in range(2):
        assert torch.equal(forward(torch.ones(4, 3))["twice"], torch.full((4, 3), 2.0))
    (message,) = caplog.messages
    assert "cannot be captured as a CUDA graph (operation not permitted when stream is capturing)" in message
