"""Checkpoints of any content: read as before or refused in words."""

import io
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from gantrain.training.checkpoint import LAST
from tests.faults.files.mutations import EXAMPLES, Mutated, Whole, deeper_recursion, fuzzed, mutated_content
from tests.faults.files.reading import READERS, as_before_or_refused


@pytest.mark.parametrize("name", READERS)
def test_a_checkpoint_of_any_content(name: str, run: Path, whole: bytes, usual: dict[str, list[Tensor]]) -> None:
    content = torch.load(io.BytesIO(whole), weights_only=True)

    @settings(fuzzed, max_examples=2 * EXAMPLES)
    @given(mutated_content(Whole(content)))
    def check(mutated: Mutated) -> None:
        with deeper_recursion():
            torch.save(mutated.content, run / LAST)
        as_before_or_refused(run, name, usual, equal=mutated.equal)

    check()
