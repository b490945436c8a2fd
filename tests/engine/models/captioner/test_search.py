"""Token for token against `generate()` of transformers, on small decoders with random weights."""

import numpy as np
import pytest
import torch

from lineup.errors import UsageError
from lineup.models.caption_search import SearchOptions, log_softmax, search

VOCABULARY = 23
BEGIN, END, PAD = 0, 1, 2
IMAGES = 3


class RecomputingDecoder:
    """Logits of a model of transformers, computed anew from all tokens; image i has context i."""

    def __init__(self, model, states=None):
        self._model = model
        self._states = states
        self._tokens = None
        self.fed = []
        self.orders = []

    def step(self, tokens):
        self.fed.append(tokens.tolist())
        column = tokens[:, None]
        self._tokens = column if self._tokens is None else np.hstack([self._tokens, column])
        context = (
            {}
            if self._states is None
            else {"encoder_hidden_states": self._states, "is_decoder": True}
        )
        with torch.no_grad():
            output = self._model(torch.from_numpy(self._tokens), use_cache=False, **context)
        return output.logits[:, -1].float().numpy()

    def widen(self, count):
        self._tokens = np.repeat(self._tokens, count, axis=0)
        if self._states is not None:
            self._states = self._states.repeat_interleave(count, dim=0)

    def reorder(self, rows):
        self.orders.append(rows.tolist())
        self._tokens = self._tokens[rows]


def untied(model):
    """Give a model output weights of its own, with which captions end at many lengths."""
    weights = torch.randn_like(model.get_output_embeddings().weight) * 0.3
    weights[END] *= 2
    model.get_output_embeddings().weight = torch.nn.Parameter(weights)
    return model.eval()


def gpt2(seed):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.4,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    return untied(GPT2LMHeadModel(config))


def blip(seed):
    from transformers import BlipTextConfig
    from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel

    torch.manual_seed(seed)
    config = BlipTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        encoder_hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.4,
        bos_token_id=BEGIN,
        sep_token_id=END,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    return untied(BlipTextLMHeadModel(config))


def generated(model, prefix, images, options, **context):
    """Return what transformers finds, as our hypotheses hold it: up to the end token."""
    output = model.generate(
        torch.tensor([prefix] * images),
        attention_mask=torch.ones(images, len(prefix), dtype=torch.long),
        do_sample=False,
        num_beams=options.beams,
        max_length=len(prefix) + options.max_new_tokens,
        min_length=len(prefix) + options.min_new_tokens,
        length_penalty=options.length_penalty,
        early_stopping=False,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
        return_dict_in_generate=True,
        output_scores=True,
        **context,
    )
    captions = []
    for row in output.sequences[:, len(prefix) :].tolist():
        end = row.index(END) + 1 if END in row else options.max_new_tokens
        captions.append(tuple(row[:end]))
    scores = None if options.beams == 1 else output.sequences_scores.numpy()
    return captions, scores


CASES = [
    {"beams": 1},
    {"beams": 1, "min_new_tokens": 4},
    {"beams": 3},
    {"beams": 3, "min_new_tokens": 5},
    {"beams": 3, "length_penalty": 0.0},
    {"beams": 3, "length_penalty": 2.5},
    {"beams": 3, "length_penalty": -1.0},
    {"beams": 5, "length_penalty": 0.6, "min_new_tokens": 2},
]


def options_from(max_new_tokens=12, **case):
    return SearchOptions(end_id=END, pad_id=PAD, max_new_tokens=max_new_tokens, **case)


@pytest.mark.filterwarnings("ignore:.*length_penalty.*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_images_for_many_seeds(case):
    options = options_from(**case)
    lengths = set()
    for seed in range(6):
        model = gpt2(seed)
        prefix = [BEGIN, *np.random.default_rng(seed).integers(3, VOCABULARY, seed % 3).tolist()]

        (found,) = search(RecomputingDecoder(model), prefix, 1, options)

        (expected,), scores = generated(model, prefix, 1, options)
        assert found.tokens == expected, seed
        if scores is not None:
            score = found.log_probability / len(expected) ** options.length_penalty
            assert score == pytest.approx(scores[0], rel=1e-4)
        lengths.add(len(expected))
    assert len(lengths) > 1, "every caption is as long as the next one: nothing was tested"


@pytest.mark.filterwarnings("ignore:.*length_penalty.*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_batch_of_images_for_many_seeds(case):
    options = options_from(**case)
    lengths = set()
    for seed in range(4):
        model = blip(seed)
        states = torch.randn(IMAGES, 4, 16) * 3

        found = search(RecomputingDecoder(model, states), [BEGIN, 7], IMAGES, options)

        expected, _ = generated(model, [BEGIN, 7], IMAGES, options, encoder_hidden_states=states)
        assert [one.tokens for one in found] == expected, seed
        lengths |= {len(tokens) for tokens in expected}
    assert len(lengths) > 1, "every caption is as long as the next one: nothing was tested"


def test_the_log_probability_is_that_of_the_new_tokens():
    model, prefix = gpt2(3), [BEGIN, 9]

    for beams in (1, 3):
        (found,) = search(RecomputingDecoder(model), prefix, 1, options_from(beams=beams))

        tokens = torch.tensor([[*prefix, *found.tokens]])
        with torch.no_grad():
            steps = model(tokens).logits[0, 1:-1].log_softmax(-1)
        expected = steps.gather(1, tokens[0, 2:, None]).sum()
        assert found.log_probability == pytest.approx(float(expected), rel=1e-4)


class ScriptedDecoder:
    """Always the same logits per image, whatever it is fed."""

    def __init__(self, logits):
        self._logits = np.array(logits, np.float32)
        self.fed = []

    def step(self, tokens):
        self.fed.append(tokens.tolist())
        return self._logits

    def widen(self, count):
        self._logits = np.repeat(self._logits, count, axis=0)


def test_one_call_per_token_for_all_images_and_none_after_the_last():
    decoder = ScriptedDecoder([[0, 0, 0, 9], [0, 9, 0, 0]])

    found = search(decoder, [BEGIN, 3], 2, options_from(max_new_tokens=3))

    assert [one.tokens for one in found] == [(3, 3, 3), (END,)]
    # The second caption has ended: it is fed padding.
    assert decoder.fed == [[BEGIN] * 2, [3, 3], [3, PAD], [3, PAD]]


def test_a_search_ends_when_every_caption_has():
    decoder = ScriptedDecoder([[0, 9, 0, 0]] * 2)

    search(decoder, [BEGIN], 2, options_from())

    assert len(decoder.fed) == 1


def test_the_prefix_is_fed_once_per_image_whatever_the_beams():
    decoder = RecomputingDecoder(gpt2(0))

    search(decoder, [BEGIN, 5, 6], 1, options_from(beams=4))

    assert decoder.fed[:3] == [[BEGIN], [5], [6]]
    assert {len(tokens) for tokens in decoder.fed[3:]} == {4}


def test_beams_keep_to_their_image():
    torch.manual_seed(5)
    decoder = RecomputingDecoder(blip(5), torch.randn(IMAGES, 4, 16))

    search(decoder, [BEGIN], IMAGES, options_from(beams=3))

    assert decoder.orders
    assert all(
        row // 3 == place // 3 for order in decoder.orders for place, row in enumerate(order)
    )


def test_more_beams_than_the_vocabulary_fills():
    with pytest.raises(UsageError, match="at most 2"):
        search(ScriptedDecoder([[0, 0, 0, 0]]), [BEGIN], 1, options_from(beams=3))


def test_log_softmax_of_large_logits():
    rows = np.array([[1000, 999, -1000]], np.float32)

    expected = torch.from_numpy(rows).log_softmax(-1).numpy()
    np.testing.assert_allclose(log_softmax(rows), expected, rtol=1e-6)
