import numpy as np
import pytest

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions
from lineup.bundles.info import TextEncoderInfo
from lineup.errors import BundleFormatError
from lineup.models.components import Components
from lineup.models.text import text_digest, text_states, tokens_from_prompts


@pytest.fixture
def open_text(toy_bundle):
    def opened(**changes):
        bundle = toy_bundle(**changes)
        return Components(bundle, Device(DeviceKind.CPU), RuntimeOptions(threads=1))

    return opened


def tokens(text, prompts, length=6):
    encoder = TextEncoderInfo("text_encoder", "tokenizer.json", length, 0)
    return tokens_from_prompts(text, prompts, encoder)


def states_of(text, prompts):
    return text_states(text, text.bundle.manifest.generation.text_encoders, prompts)


def test_short_prompts_are_padded(open_text):
    assert tokens(open_text(), ["red circle"]).tolist() == [[1, 4, 6, 2, 0, 0]]


def test_long_prompts_are_cut_before_the_closing_token(open_text):
    prompt = "red circle blue square red circle"

    assert tokens(open_text(), [prompt]).tolist() == [[1, 4, 6, 5, 7, 2]]


def test_the_length_is_the_encoders(open_text):
    text = open_text()

    assert tokens(text, ["red"], length=4).tolist() == [[1, 4, 2, 0]]
    assert tokens(text, ["red"], length=5).tolist() == [[1, 4, 2, 0, 0]]


def test_unknown_words_are_tolerated(open_text):
    assert tokens(open_text(), ["red unicorn"]).tolist() == [[1, 4, 3, 2, 0, 0]]


def test_a_closed_vocabulary_is_named(open_text, toy):
    words = [word for word in toy.words if word != "<unk>"]

    with pytest.raises(BundleFormatError, match=r"tokenizer\.json cannot encode"):
        tokens(open_text(tokenizer=toy.tokenizer_bytes(words)), ["unicorn"])


def test_what_is_no_tokenizer_is_named(open_text):
    with pytest.raises(BundleFormatError, match=r"tokenizer\.json: not a tokenizer"):
        states_of(open_text(tokenizer=b"{}"), ["red"])


def test_states_of_one_encoder(open_text, toy):
    states = states_of(open_text(), ["red", "blue circle"])

    assert states.states.shape == (2, toy.length, toy.width)
    assert states.pooled is None
    assert not np.array_equal(states.states[0], states.states[1])


def test_states_of_several_encoders_are_joined(open_text, toy):
    one = states_of(open_text(name="one"), ["red"])
    two = states_of(open_text(name="two", text_encoders=2, pooled=True), ["red"])

    assert two.states.shape == (1, toy.length, 2 * toy.width)
    np.testing.assert_array_equal(two.states[..., : toy.width], one.states)
    np.testing.assert_allclose(two.pooled, one.states.mean(axis=1), rtol=1e-6)


def test_the_text_digest_is_of_text_encoders_and_tokenizers(toy_bundle, toy):
    def digest(name, **changes):
        bundle = toy_bundle(name, **changes)
        return text_digest(bundle, bundle.manifest.generation)

    base = digest("base")

    assert digest("other-unet", side=8, scheduler=toy.lcm) == base
    assert digest("other-tokenizer", tokenizer=toy.tokenizer_bytes([*toy.words, "green"])) != base
    assert digest("other-encoder", pooled=True) != base
    assert digest("other-count", text_encoders=2) != base
