from __future__ import annotations

import numpy as np
import pytest
import torch

from lineup_models.fingerprint.spec import ChannelMean, SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum

SPEC = SpectrumSpec(tile_size_px=32, pool_height=12, pool_width=6)


def tiles(count: int) -> torch.Tensor:
    random = np.random.default_rng(6)
    return torch.from_numpy(random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize("where", list(ChannelMean))
def test_a_grey_image_has_one_spectrum_wherever_channels_become_one(where: ChannelMean) -> None:
    grey = tiles(2)[..., :1].expand(-1, -1, -1, 3).contiguous()
    spec = SpectrumSpec(tile_size_px=32, pool_height=12, pool_width=6, channel_mean=where)

    torch.testing.assert_close(
        PooledSpectrum(spec)(grey), PooledSpectrum(SPEC)(grey), rtol=1e-4, atol=1e-4
    )
