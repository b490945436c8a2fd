import numpy as np
import pytest

from lineup.models.denoise import guidance_embedding


@pytest.mark.parametrize(("guidance", "width"), [(1.0, 256), (7.5, 256), (8.0, 512)])
def test_the_guidance_embedding_is_that_of_diffusers(guidance, width):
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers", reason="the reference, of the extra export")

    expected = diffusers.LatentConsistencyModelPipeline.get_guidance_scale_embedding(
        None, torch.tensor([guidance - 1]), embedding_dim=width
    )

    # Angles reach 7,000 radians, where one unit of fp32 is 5e-4.
    np.testing.assert_allclose(guidance_embedding(guidance, width), expected[0], atol=2e-3)
