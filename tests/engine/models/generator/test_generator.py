"""The generator, on graphs that can be followed by hand."""

import numpy as np
import pytest

from lineup.bundles.bundle import open_bundle
from lineup.errors import BackendError, BundleFormatError, BundleNotFoundError, UsageError
from lineup.models.generator import ImageGenerator, SynthesisOptions
from lineup.models.noise import noise_from_seed
from lineup.models.schedulers.samplers import scheduler_from_manifest
from lineup.paths import shipped_dir
from lineup.runtime import Runtime


def decoded_by_hand(generator, latents, toy):
    raw = latents / generator.info.latent_scaling + generator.info.latent_shift
    image = generator.components.run("vae_decoder", {"latents": raw.astype(np.float32)})["image"]
    return (np.clip(image[0] / 2 + 0.5, 0, 1).transpose(1, 2, 0) * 255).round()


def test_one_step_by_hand(open_toy, toy):
    with open_toy() as generator:
        (image,) = generator.images("red circle", [9])
        states = generator.text_states(["red circle"]).states

        noise = noise_from_seed(9, (1, toy.channels, 8, 8)).astype(np.float64)
        sigma = 14.61464
        prediction = 0.5 * noise * sigma / (sigma**2 + 1) ** 0.5 + states.mean() + 0.0999
        expected = decoded_by_hand(generator, sigma * (noise - prediction), toy)

    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    assert np.abs(image - expected).max() <= 1


def test_defaults_come_from_the_bundle(open_toy):
    with open_toy(native_width_px=40, native_height_px=24, steps=2, guidance=3.0) as generator:
        (image,) = generator.images("red", [0])
        (explicit,) = generator.images(
            "red", [0], SynthesisOptions(steps=2, guidance=3.0, width_px=40, height_px=24)
        )
        assert (generator.info.native_width_px, generator.info.native_height_px) == (40, 24)

    assert image.shape == (24, 40, 3)
    assert (image == explicit).all()


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("guidance", [0.0, 4.0])
def test_an_image_does_not_depend_on_its_company(open_toy, toy, batch, guidance):
    options = SynthesisOptions(steps=3, guidance=guidance, batch=batch)
    with open_toy(scheduler=toy.lcm) as generator:
        together = generator.images("red", [3, 4, 5, 6, 7], options)
        alone = [
            generator.images("red", [seed], SynthesisOptions(steps=3, guidance=guidance))[0]
            for seed in (3, 4, 5, 6, 7)
        ]

    # Reductions over a batch may round otherwise; alone, an image repeats to the bit.
    allowed = 0 if batch == 1 else 1
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.astype(int) - other).max() <= allowed
    assert len({image.tobytes() for image in together}) == 5


def test_the_denoiser_runs_once_per_batch_and_step(open_toy):
    with open_toy() as generator:
        generator.images("red", range(5), SynthesisOptions(steps=2, batch=2))

        calls = generator.trace.calls
    assert calls["unet"] == 3 * 2
    assert calls["text_encoder"] == 1
    assert calls["vae_decoder"] == 5


def test_states_serve_in_place_of_a_prompt(open_toy):
    with open_toy() as generator:
        states = generator.text_states(["red circle"])
        calls = generator.trace.calls["text_encoder"]
        images = generator.images(states, [1])

        assert (images[0] == generator.images("red circle", [1])[0]).all()
        assert generator.trace.calls["text_encoder"] == calls + 1
        with pytest.raises(UsageError, match="2 prompts"):
            generator.images(generator.text_states(["red", "blue"]), [1])


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0])
def test_no_guidance_is_one_evaluation(open_toy, guidance):
    with open_toy() as generator:
        options = SynthesisOptions(guidance=guidance, negative_prompt="blue")
        guided = generator.images("red", [1], options)
        plain = generator.images("red", [1])

        assert (guided[0] == plain[0]).all()
        assert generator.trace.calls["text_encoder"] == 2


def test_guidance_by_hand(open_toy, toy):
    with open_toy() as generator:
        options = SynthesisOptions(guidance=3.0, negative_prompt="blue square")
        (image,) = generator.images("red", [1], options)

        away, towards = (
            generator.text_states([text]).states.mean() for text in ("blue square", "red")
        )
        noise = noise_from_seed(1, (1, toy.channels, 8, 8)).astype(np.float64)
        sigma = 14.61464
        text = away + 3 * (towards - away)
        prediction = 0.5 * noise * sigma / (sigma**2 + 1) ** 0.5 + text + 0.0999
        expected = decoded_by_hand(generator, sigma * (noise - prediction), toy)

    assert np.abs(image - expected).max() <= 1


def test_the_negative_prompt_is_encoded_once(open_toy):
    with open_toy() as generator:
        states = generator.text_states(["red"])
        for seed in range(3):
            generator.images(states, [seed], SynthesisOptions(guidance=2.0))

        assert generator.trace.calls["text_encoder"] == 2


def test_zeros_in_place_of_an_empty_negative_prompt(open_toy, toy):
    options = SynthesisOptions(guidance=2.0)
    zeros = {**toy.one_step, "force_zeros_for_empty_prompt": True}
    with open_toy(name="plain") as plain, open_toy(name="zeros", scheduler=zeros) as forced:
        assert (plain.images("red", [1], options)[0] != forced.images("red", [1], options)[0]).any()
        assert forced.trace.calls["text_encoder"] == 1


def test_further_inputs_of_the_denoiser(open_toy, toy):
    inputs = [
        toy.spec("pooled", "images", toy.width),
        toy.spec("time_ids", "images", 6),
        toy.spec("guidance_embedding", "images", 256),
    ]
    with open_toy(pooled=True, unet_inputs=inputs) as generator:
        seen = {}
        run = generator.components.run

        def spy(role, feeds):
            seen[role] = feeds
            return run(role, feeds)

        generator.components.run = spy
        options = SynthesisOptions(guidance=8.0, width_px=48, height_px=16, batch=2)
        generator.images("red", [1, 2], options)

    unet = seen["unet"]
    # An embedded guidance scale takes no second evaluation.
    assert unet["latents"].shape == (2, toy.channels, 4, 12)
    assert unet["time_ids"].tolist() == [[16, 48, 0, 0, 16, 48]] * 2
    assert unet["pooled"].shape == (2, toy.width)
    assert unet["guidance_embedding"].shape == (2, 256)


def test_a_denoiser_that_wants_what_no_encoder_gives(open_toy, toy):
    inputs = [toy.spec("pooled", "images", toy.width)]
    with (
        open_toy(unet_inputs=inputs) as generator,
        pytest.raises(BundleFormatError, match="no text encoder puts one out"),
    ):
        generator.images("red", [0])


def test_redrawing_by_hand(open_toy, toy):
    init = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with open_toy() as generator:
        options = SynthesisOptions(steps=4, strength=0.5, init_image=init)
        (image,) = generator.images("red", [2], options)
        assert generator.trace.calls["unet"] == 2

        encoded = generator.components.run(
            "vae_encoder", {"image": (init / 127.5 - 1).transpose(2, 0, 1)[None].astype("f4")}
        )["latents"]
        latents = (encoded - 0.1) * 0.5
        scheduler = scheduler_from_manifest(toy.one_step, 4, strength=0.5)
        latents = scheduler.noised(latents, noise_from_seed(2, latents.shape), 2)
        text = generator.text_states(["red"]).states.mean()
        for step in (2, 3):
            prediction = 0.5 * scheduler.model_input(latents, step) + text
            prediction = prediction + scheduler.timesteps[step] * 1e-4
            latents = scheduler.previous(prediction.astype(np.float32), latents, step)
        expected = decoded_by_hand(generator, latents, toy)

    assert np.abs(image - expected).max() <= 1


def test_an_image_to_start_from_is_resized(open_toy):
    init = np.full((50, 70, 3), 90, np.uint8)
    with open_toy() as generator:
        options = SynthesisOptions(strength=1.0, init_image=init)

        assert generator.images("red", [2], options)[0].shape == (32, 32, 3)


def test_sizes_that_do_not_fit_are_refused(open_toy):
    with open_toy() as generator, pytest.raises(UsageError, match="multiples of 4") as caught:
        generator.images("red", [0], SynthesisOptions(width_px=33))
    assert "32x32" in caught.value.hint


def test_a_graph_of_fixed_size_says_so(open_toy):
    with open_toy(side=8) as generator:
        assert len(generator.images("red", [0])) == 1
        with pytest.raises(UsageError, match="fixed at 32x32 pixels, but 64x32"):
            generator.images("red", [0], SynthesisOptions(width_px=64))


def test_components_come_and_go(open_toy):
    generator = open_toy()
    assert generator.components.resident == ()
    before = generator.images("red", [0])
    assert generator.components.resident == ("text_encoder", "unet", "vae_decoder")
    generator.components.release()

    assert (generator.images("red", [0])[0] == before[0]).all()
    generator.close()
    with pytest.raises(BackendError, match="was closed"):
        generator.images("red", [0])


@pytest.mark.parametrize("keep", [True, False])
def test_a_graph_makes_room_for_the_next_unless_all_are_kept(open_toy, keep):
    with open_toy(keep_graphs=keep) as generator:
        states = generator.text_states(["red"])
        latents = generator.latents(states, [0, 1])
        while_denoising = generator.components.resident
        made = generator.images_from_latents(latents)
        while_decoding = generator.components.resident

        assert while_denoising == (("text_encoder", "unet") if keep else ("unet",))
        assert while_decoding == (("text_encoder", "unet", "vae_decoder")[0 if keep else 2 :])
        for seed, image in enumerate(made):
            assert (image == generator.images("red", [seed])[0]).all()


def test_another_kind_of_model_is_refused():
    bundle = open_bundle(shipped_dir() / "bundles" / "whitened-spectrum")

    with pytest.raises(BundleFormatError, match="kind fingerprint, expected generator"):
        ImageGenerator(bundle, None, None)


def test_opening_by_path(toy_bundle):
    bundle = toy_bundle()

    with Runtime("cpu", threads=1).open(ImageGenerator, bundle.path) as generator:
        assert generator.name == "toy"
        assert generator.digest == bundle.digest
        assert generator.vae_family == "toy-vae"
        assert len(generator.images("red", [0])) == 1


def test_an_unknown_name_is_refused():
    with pytest.raises(BundleNotFoundError, match="nothing-of-the-kind"):
        Runtime("cpu").open(ImageGenerator, "nothing-of-the-kind")
