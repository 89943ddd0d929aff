"""Conversions of images, and batches of sets on the device and of streamed sets."""

import pytest
import torch

from gantrain.data import BatchSampler, DataError, dequantize, restore_generator, to_range, to_uint8


def numbered(count: int) -> torch.Tensor:
    """Images whose left half has the value of their index."""
    images = torch.zeros(count, 3, 4, 4, dtype=torch.uint8)
    images[:, :, :, :2] = torch.arange(count, dtype=torch.uint8)[:, None, None, None]
    return images


def sampler(count: int, batch: int, *, flip: bool = False, seed: int = 0) -> BatchSampler:
    return BatchSampler(numbered(count), batch_size=batch, image_range=(0.0, 255.0), flip=flip, seed=seed)


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (7, 7), (5, 12)])
def test_every_image_is_seen_once_an_epoch(count: int, batch: int) -> None:
    batches = sampler(count, batch)
    epochs = 6
    drawn = torch.cat([batches.next_indices(batch) for _ in range(count * epochs // batch)])
    for epoch in drawn.split(count):
        if len(epoch) == count:
            assert sorted(epoch.tolist()) == list(range(count))
    first, second = drawn[:count].tolist(), drawn[count : 2 * count].tolist()
    assert first != second


def test_order_and_flips_come_from_the_seed() -> None:
    first, same, other = (sampler(50, 8, flip=True, seed=s) for s in (3, 3, 4))
    drawn = [torch.stack([s.next()[0] for _ in range(20)]) for s in (first, same, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_half_of_the_images_are_mirrored() -> None:
    batches = BatchSampler(numbered(100).clamp(min=1), batch_size=100, image_range=(0.0, 255.0), flip=True, seed=0)
    left = torch.cat([batches.next()[0][:, 0, 0, 0] for _ in range(20)])
    right = torch.cat([batches.next()[0][:, 0, 0, 3] for _ in range(20)])
    assert float((left == 1).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float((right == 1).float().mean()) == pytest.approx(0.5, abs=0.05)
    plain = sampler(100, 100)
    drawn, _ = plain.next()
    assert torch.equal(drawn[plain.order.argsort()], numbered(100).float())


def test_state_continues_order_and_flips_exactly() -> None:
    batches = sampler(13, 5, flip=True)
    for _ in range(4):
        batches.next()
    state = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in batches.state_dict().items()}
    wanted = torch.stack([batches.next()[0] for _ in range(10)])
    resumed = sampler(13, 5, flip=True, seed=99)
    resumed.load_state_dict(state)
    assert torch.equal(torch.stack([resumed.next()[0] for _ in range(10)]), wanted)
    assert resumed.epoch == batches.epoch
    with pytest.raises(DataError, match="13 images, but the data set now has 14"):
        sampler(14, 5).load_state_dict(state)


@pytest.mark.parametrize("image_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_range_conversion_is_exact_for_every_level(image_range: tuple[float, float]) -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    floats = to_range(levels, image_range)
    assert floats.min() == image_range[0]
    assert float(floats.max()) == pytest.approx(image_range[1], abs=1e-6)
    assert torch.equal(to_uint8(floats, image_range), levels)
    beyond = torch.tensor([image_range[0] - 5, image_range[1] + 5])
    assert to_uint8(beyond, image_range).tolist() == [0, 255]


def test_a_state_from_another_kind_of_device_seeds_the_generator() -> None:
    generator = torch.Generator().manual_seed(1)
    state = generator.get_state()
    wanted = torch.rand(3, generator=generator)
    other = torch.Generator()
    assert restore_generator(other, state, seed=5)
    assert torch.equal(torch.rand(3, generator=other), wanted)
    cuda_state = torch.zeros(16, dtype=torch.uint8)  # seed and offset: all that Philox needs
    assert not restore_generator(other, cuda_state, seed=5)
    assert torch.equal(torch.rand(3, generator=other), torch.rand(3, generator=torch.Generator().manual_seed(5)))


def test_dequantized_levels_lie_evenly_within_their_own_width() -> None:
    levels = torch.tensor([0, 100, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 60, 60)
    found = dequantize(levels, (-1.0, 1.0), torch.Generator().manual_seed(0))
    for level, values in zip((0, 100, 255), found, strict=True):
        low, width = level / 128 - 1, 1 / 128
        assert low <= float(values.min()) < low + 0.01 * width
        assert low + 0.99 * width < float(values.max()) <= low + width
        assert float(values.mean()) == pytest.approx(low + width / 2, abs=0.01 * width)
    assert float(found.min()) >= -1
    assert float(found.max()) <= 1
    drawn, _ = BatchSampler(
        numbered(20), batch_size=20, image_range=(0.0, 255.0), flip=False, seed=0, dequantize=True
    ).next()
    assert bool((drawn != drawn.round()).any())


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_streamed_set_gives_the_batches_of_a_resident_one(channels_last: bool) -> None:
    """Over ends of epochs and more iterations than there are buffers, with flips and noise."""

    def drawn(*, streamed: bool) -> list[torch.Tensor]:
        batches = BatchSampler(
            numbered(13),
            labels=torch.arange(13),
            batch_size=5,
            image_range=(-1.0, 1.0),
            flip=True,
            dequantize=True,
            seed=3,
            at_once=3,
            streamed=streamed,
            channels_last=channels_last,
        )
        found = []
        for count in (1, 3, 2, 3, 1, 3, 2):
            batches.prepare(count)
            for place in range(count):
                images, labels = batches.batch(place)
                assert labels is not None
                found += [images, labels.clone()]  # the next batch overwrites a streamed one
        return found

    for one, other in zip(drawn(streamed=True), drawn(streamed=False), strict=True):
        assert torch.equal(one, other)
