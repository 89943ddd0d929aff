"""The forward of full batches and others without a GPU; with one, tests/gpu."""

import pytest
import torch
from torch import Tensor

from gantrain.metrics import replay
from gantrain.metrics.replay import Forward, Replayed


def doubled(batch: Tensor) -> dict[str, Tensor]:
    return {"twice": batch * 2}


def made_for_cuda(batch_size: int) -> Replayed:
    """What captures, on tensors of the CPU."""
    made = Replayed(doubled, batch_size=batch_size, device=torch.device("cpu"))
    made._captures = True
    return made


def test_a_graph_is_captured_once_for_a_shape_and_replayed_on_full_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[torch.Size] = []
    replayed: list[int] = []

    def capture(forward: Forward, example: Tensor) -> Forward:
        captured.append(example.shape)

        def graph(batch: Tensor) -> dict[str, Tensor]:
            replayed.append(len(batch))
            return forward(batch)

        return graph

    monkeypatch.setattr(replay, "capture", capture)
    forward = made_for_cuda(4)
    for count, width in ((4, 3), (4, 3), (2, 3), (4, 5)):
        batch = torch.full((count, width), float(count))
        torch.testing.assert_close(forward(batch)["twice"], torch.full((count, width), 2.0 * count))
    assert captured == [torch.Size((4, 3)), torch.Size((4, 5))]
    assert replayed == [4, 4, 4]
    forward = Replayed(doubled, batch_size=4, device=torch.device("cpu"))
    assert torch.equal(forward(torch.ones(4, 3))["twice"], torch.full((4, 3), 2.0))
    assert len(captured) == 2, "a CPU captures nothing"


def test_where_no_graph_can_be_captured_the_forward_runs_eagerly_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(forward: Forward, example: Tensor) -> Forward:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(replay, "capture", refuse)
    forward = made_for_cuda(4)
    for _ in range(2):
        assert torch.equal(forward(torch.ones(4, 3))["twice"], torch.full((4, 3), 2.0))
    said = capsys.readouterr().err
    assert said.count("no CUDA graph of the forward could be captured") == 1
    assert "not permitted when stream is capturing)" in said
