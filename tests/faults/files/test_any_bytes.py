"""Checkpoints, weights and images of any bytes: read as before or refused in words, never run or lost."""

import io
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from PIL import Image
from torch import Tensor

from gantrain.atomic_io import UnreadableFileError, load_safely
from gantrain.data import DataError
from gantrain.data.folder import load_folder
from gantrain.training.checkpoint import LAST
from tests.faults.files.mutations import EXAMPLES, Mutated, Whole, fuzzed, mutated_bytes, rezipped
from tests.faults.files.reading import LONGEST, READERS, as_before_or_refused


@pytest.mark.parametrize("name", READERS)
def test_a_checkpoint_of_any_bytes(name: str, run: Path, whole: bytes, usual: dict[str, list[Tensor]]) -> None:
    @fuzzed
    @given(mutated_bytes(Whole(whole)))
    def check(mutated: Mutated) -> None:
        (run / LAST).write_bytes(mutated.content)
        as_before_or_refused(run, name, usual)

    check()


@pytest.mark.parametrize("by_old_torch", [False, True])
def test_a_file_of_weights_of_any_bytes(tmp_path: Path, by_old_torch: bool) -> None:
    """What load_safely gives is what was written; of the form without checksums, that nothing else comes of it."""
    state = {"fc.weight": torch.arange(12.0).view(4, 3), "bn.seen": torch.tensor(3)}
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=not by_old_torch)
    file = tmp_path / "weights.pth"

    @settings(fuzzed, max_examples=3 * EXAMPLES)
    @given(mutated_bytes(Whole(buffer.getvalue())))
    def check(mutated: Mutated) -> None:
        file.write_bytes(mutated.content)
        refusal = ""
        try:
            found = load_safely(file, by_old_torch=by_old_torch)
        except UnreadableFileError as error:
            refusal = str(error)
        assert file.read_bytes() == mutated.content
        if refusal or by_old_torch:
            assert len(refusal) < LONGEST
        else:
            assert found.keys() == state.keys()
            assert all(torch.equal(found[key], state[key]) for key in state)

    check()


@pytest.mark.parametrize("name", ["sample", "resume"])
def test_an_archive_with_tricks(name: str, run: Path, whole: bytes, usual: dict[str, list[Tensor]]) -> None:
    @fuzzed
    @given(rezipped(Whole(whole)))
    def check(mutated: Mutated) -> None:
        (run / LAST).write_bytes(mutated.content)
        as_before_or_refused(run, name, usual)

    check()
    assert not (run.parent / "canary").exists()


@pytest.mark.parametrize("ending", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_an_image_of_any_bytes(tmp_path: Path, ending: str) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    options = {"exif": exif} if ending in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    Image.effect_noise((20, 14), 80).convert("RGB").save(buffer, ending, **options)
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    file = tmp_path / "a.png"

    @fuzzed
    @given(mutated_bytes(Whole(buffer.getvalue())))
    @example(Mutated(buffer.getvalue(), []))
    def check(mutated: Mutated) -> None:
        file.write_bytes(mutated.content)
        refusal = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert load_folder(tmp_path, 8).images.shape == (2, 3, 8, 8)
            except DataError as error:
                refusal = str(error)
        assert file.read_bytes() == mutated.content
        assert not refusal or "a.png' cannot be read as an image" in refusal
        assert refusal.isprintable()
        assert len(refusal) < LONGEST

    check()
