"""The verdict as people say it."""

import pytest

from lineup.results import GENERATED, UNDETERMINED, Evidence, Verdict
from lineup.wording import sentence_from_verdict

POSTERIOR = {"a": 0.2, "b": 0.2, "generated": 0.55, "photograph": 0.05}


def evidence(ratio):
    return Evidence("fingerprint", {"a": 0.1}, {"a": ratio}, 1.0)


@pytest.mark.parametrize(
    ("label", "family", "ratio", "sentence"),
    [
        ("a", (), 1.0, "Most likely made by a (20 %)."),
        ("a", ("a", "b"), 1.0, "Most likely made by a or b (40 %)."),
        (GENERATED, (), 1.0, "Most likely generated (95 %), by none of the sources known."),
        (UNDETERMINED, (), 1.0, "Undetermined: no source stands out."),
        (
            UNDETERMINED,
            (),
            0.0,
            "Undetermined: nothing in this image speaks for or against any source.",
        ),
    ],
)
def test_every_label_has_its_sentence(label, family, ratio, sentence):
    verdict = Verdict(label, POSTERIOR, (evidence(ratio),), family=family)

    assert sentence_from_verdict(verdict) == sentence


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        (GENERATED, "Most likely generated (90 %), perhaps by a, at 80 % too little for a name."),
        (UNDETERMINED, "Undetermined: perhaps a, at 80 % too little for a name."),
    ],
)
def test_a_source_that_is_almost_named_is_told(label, sentence):
    posterior = {"a": 0.8, "b": 0.05, "generated": 0.05, "photograph": 0.1}

    assert sentence_from_verdict(Verdict(label, posterior, (evidence(1.0),))) == sentence


@pytest.mark.parametrize(
    ("channel", "ending"),
    [
        (None, "."),
        ("clean", "."),
        ("jpeg:70", "; seen through JPEG of quality about 70."),
        ("resize:1.5", "; seen through a resize to about 1.5 of its size."),
    ],
)
def test_a_name_comes_with_its_channel(channel, ending):
    one = Evidence("fingerprint", {"a": 0.1}, {"a": 1.0}, 1.0, channel=channel)

    assert sentence_from_verdict(Verdict("a", POSTERIOR, (one,))) == (
        f"Most likely made by a (20 %){ending}"
    )
