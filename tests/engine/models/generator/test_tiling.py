import numpy as np
import pytest

from lineup.models.autoencoder import run_tiled


def noise(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def enlarged(array):
    return array.repeat(2, axis=2).repeat(2, axis=3)


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (40, 17), (49, 100), (9, 33)])
def test_what_sees_no_neighbours_does_not_change(rows, columns):
    array = noise(2, 3, rows, columns)

    tiled = run_tiled(enlarged, array, tile=16, tile_out=32)

    np.testing.assert_allclose(tiled, enlarged(array), atol=1e-6)


def test_no_run_is_larger_than_a_tile():
    shapes = []

    def run(array):
        shapes.append(array.shape)
        return array

    run_tiled(run, noise(1, 1, 50, 30), tile=16, tile_out=16)

    assert max(max(shape[2:]) for shape in shapes) == 16
    assert len(shapes) == 5 * 3


def test_blending_is_that_of_diffusers():
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers", reason="the reference, of the extra export")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        sample_size=64,
    ).eval()
    vae.enable_tiling()
    latents = noise(1, 4, 30, 41)
    image = noise(1, 3, 100, 132)
    with torch.no_grad():
        expected_image = vae.decode(torch.tensor(latents)).sample.numpy()
        expected_latents = vae.encode(torch.tensor(image)).latent_dist.mean.numpy()
        vae.disable_tiling()

        def decode(array):
            return vae.decode(torch.tensor(array)).sample.numpy()

        def encode(array):
            return vae.encode(torch.tensor(array)).latent_dist.mean.numpy()

        tiled_image = run_tiled(decode, latents, tile=16, tile_out=64)
        tiled_latents = run_tiled(encode, image, tile=64, tile_out=16)

    np.testing.assert_allclose(tiled_image, expected_image, atol=1e-5)
    np.testing.assert_allclose(tiled_latents, expected_latents, atol=1e-5)
