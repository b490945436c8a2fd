"""The captioner, run from a bundle, against `generate()` of the BLIP it was made of."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from lineup.backends import onnxrt
from lineup.backends.onnxrt_runners import (
    BoundRunner,
    DeviceMemory,
    OrtDeviceArray,
)
from lineup.errors import BackendError, BundleFormatError, BundleNotFoundError, UsageError
from lineup.models.captioner import Captioner, CaptionOptions
from lineup.models.preprocess import pixel_values_from_images
from lineup.paths import shipped_dir
from lineup.runtime import Runtime

PAD, BEGIN, END = 0, 1, 2
MAX_TOKENS = 10
WORDS = ["[PAD]", "[BEGIN]", "[END]", "[UNK]"]
WORDS += ["a", "red", "green", "blue", "cube", "ball", "on", "under", "near", "of"]


@pytest.fixture(scope="module")
def path(tiny, tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("captioner") / "tiny")


@pytest.fixture(scope="module")
def captioner(path):
    with Runtime("cpu", threads=1).open(Captioner, path) as opened:
        yield opened


@pytest.fixture(scope="module")
def images():
    """Of several sizes, and unlike each other after resizing."""
    rng = np.random.default_rng(1)
    sizes = [(16, 16), (20, 30), (64, 16)] * 4
    return [
        rng.integers(0, 255, (h, w, 3), np.uint8) // rng.integers(1, 6, 3, np.uint8)
        for h, w in sizes
    ]


def words_of(token_ids):
    # What random weights say in between, begin tokens and padding, is no text.
    return " ".join(WORDS[one] for one in token_ids if one not in (PAD, BEGIN))


def generated(tiny, captioner, images, prompt=(), **options):
    """Return the tokens after the begin token, up to the end token."""
    values = torch.from_numpy(pixel_values_from_images(images, captioner._preprocess))
    # BLIP overwrites the first token with its begin token and drops the last one.
    tokens = torch.tensor([[BEGIN, *prompt, END]] * len(images))
    output = tiny.model.generate(
        pixel_values=values,
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        do_sample=False,
        max_length=options.pop("max_length", MAX_TOKENS + 1),
        **options,
    )
    rows = output[:, 1:].tolist()
    return [tuple(row[: row.index(END)] if END in row else row) for row in rows]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("prompt", ["", "a red"])
def test_captions_are_those_of_transformers(tiny, captioner, images, beams, prompt):
    captions = captioner.captions(images, CaptionOptions(beams=beams, prompt=prompt))

    prompt_ids = [WORDS.index(word) for word in prompt.split()]
    expected = generated(tiny, captioner, images, prompt_ids, num_beams=beams)
    assert [one.token_ids for one in captions] == expected
    assert len(set(expected)) > 2, "every image has the same caption: nothing was tested"
    assert [one.text for one in captions] == [words_of(ids) for ids in expected]
    assert all(one.text.startswith(prompt) and one.log_probability < 0 for one in captions)


@pytest.mark.parametrize("beams", [1, 3])
def test_lengths_are_those_of_transformers(tiny, captioner, images, beams):
    options = CaptionOptions(beams=beams, min_tokens=3, max_tokens=6, length_penalty=2.0)

    captions = captioner.captions(images, options)

    reference = {"min_length": 4, "max_length": 7}
    if beams > 1:
        reference["length_penalty"] = 2.0
    expected = generated(tiny, captioner, images, num_beams=beams, **reference)
    assert [one.token_ids for one in captions] == expected
    assert all(3 <= len(ids) <= 6 for ids in expected)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_caption_does_not_depend_on_its_company(captioner, images, beams):
    options = CaptionOptions(beams=beams)

    together = captioner.captions(images, options)
    alone = [captioner.captions([image], options)[0] for image in images]

    assert [one.token_ids for one in together] == [one.token_ids for one in alone]


def test_one_call_per_token_for_a_batch_and_vision_once(captioner, images, monkeypatch):
    calls = {"vision": [], "decoder": []}
    for name, sizes in calls.items():
        runner = getattr(captioner, f"_{name}")
        run = runner.run_resident

        def counted(feeds, resident, sizes=sizes, run=run):
            sizes.append(len(next(iter(feeds.values()))))
            return run(feeds, resident)

        monkeypatch.setattr(runner, "run_resident", counted)

    captioner.captions(images[:8], CaptionOptions(min_tokens=MAX_TOKENS))

    assert calls == {"vision": [8], "decoder": [8] * MAX_TOKENS}


@pytest.mark.parametrize("beams", [1, 3])
def test_captions_are_the_same_where_the_cache_stays_on_the_device(
    captioner, images, monkeypatch, beams
):
    options = CaptionOptions(beams=beams)
    expected = captioner.captions(images, options)
    copied = []
    # The memory of the host stands in for that of a GPU.
    memory = DeviceMemory("cpu", 0, lambda: session_of(onnxrt._ROWS_GRAPH))
    for name in ("_vision", "_decoder"):
        session = getattr(captioner, name)._session
        monkeypatch.setattr(captioner, name, BoundRunner(session, memory, records=True))
    monkeypatch.setattr(OrtDeviceArray, "to_host", lambda self: copied.append(self.shape))

    found = captioner.captions(images, options)

    assert found == expected
    assert copied == []


def session_of(graph):
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"])


def test_memory_bounds_the_images_of_a_run(captioner):
    assert [captioner.images_per_run(beams) for beams in (1, 3, 8, 20)] == [8, 2, 1, 1]


def test_no_image(captioner):
    assert captioner.captions([]) == []


def test_the_prompt_of_the_bundle_is_the_default(tiny, tmp_path, images):
    path = tiny.write(tmp_path / "prompted", prompt="blue cube")

    with Runtime("cpu").open(Captioner, path) as captioner:
        (own,) = captioner.captions(images[:1])
        (none,) = captioner.captions(images[:1], CaptionOptions(prompt=""))

    assert own.text.startswith("blue cube")
    assert not none.text.startswith("blue cube")


def test_words_that_the_captioner_does_not_know_are_tolerated(captioner, images):
    (caption,) = captioner.captions(images[:1], CaptionOptions(prompt="a zeppelin"))

    assert caption.token_ids[:2] == (WORDS.index("a"), WORDS.index("[UNK]"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 11}, "tiny-blip makes up to 10"),
        ({"prompt": "a " * 10}, "The prompt has 10 tokens"),
        ({"prompt": "a red", "max_tokens": 2}, "leaves none of 2"),
        ({"min_tokens": 5, "max_tokens": 4}, "at least 5 and at most 4"),
        ({"beams": 8}, "8 beams"),
    ],
)
def test_what_does_not_fit_the_captioner(captioner, images, options, message):
    with pytest.raises(UsageError, match=message):
        captioner.captions(images[:1], CaptionOptions(**options))


@pytest.mark.parametrize(
    "options",
    [{"beams": 0}, {"max_tokens": 0}, {"min_tokens": -1}, {"length_penalty": float("nan")}],
)
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match="expected"):
        CaptionOptions(**options)


def test_logits_that_are_no_numbers_are_an_error(captioner, images, monkeypatch):
    run = captioner._decoder.run_resident

    def broken(feeds, resident):
        outputs = run(feeds, resident)
        return {**outputs, "logits": np.full_like(outputs["logits"], np.nan)}

    monkeypatch.setattr(captioner._decoder, "run_resident", broken)

    with pytest.raises(BackendError, match="not numbers"):
        captioner.captions(images[:1])


def test_a_damaged_tokenizer(tiny, tmp_path):
    path = tiny.write(tmp_path / "damaged", tokenizer=b"{}")

    with pytest.raises(BundleFormatError, match=r"tokenizer\.json: not a tokenizer"):
        Runtime("cpu").open(Captioner, path)


def test_an_unknown_bundle_is_refused():
    with pytest.raises(BundleNotFoundError, match="nothing-of-the-kind"):
        Runtime().open(Captioner, "nothing-of-the-kind")


def test_another_kind_of_model_is_refused():
    with pytest.raises(BundleFormatError, match="expected captioner"):
        Runtime("cpu").open(Captioner, shipped_dir() / "bundles" / "whitened-spectrum")
