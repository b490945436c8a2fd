"""A claim: bounded, printable, and set against the pixels."""

import pytest

from lineup.claims import MOST_CHARACTERS, MOST_DETAILS, Claim, ClaimKind, Origin


def claim(kind=ClaimKind.GENERATED, **given):
    return Claim("png", kind, "unsigned text", **given)


def test_nothing_of_a_claim_takes_effect_where_it_is_printed():
    hostile = "\x1b[2J\r\n\u202eevil\ud800" + "x" * 10**6
    made = claim(generator=hostile, version=hostile, details={hostile: hostile})

    for text in (made.text, *made.details, *made.details.values()):
        assert text.isprintable()
        assert len(text) < 30 * MOST_CHARACTERS


def test_a_claim_keeps_few_details_and_no_empty_ones():
    details = {str(number): "x" for number in range(1000)}

    assert len(claim(details=details).details) == MOST_DETAILS
    assert claim(details={"model": "  "}).details == {}


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (claim(generator="A", version="1"), "made with A 1, unsigned text"),
        (claim(generator=" "), "generated, by what is not said, unsigned text"),
        (claim(ClaimKind.CAPTURED, generator="X"), "photographed with X, unsigned text"),
    ],
)
def test_a_claim_reads_as_a_sentence(made, text):
    assert made.text == text


def test_the_strongest_claim_is_the_statement():
    one, two = claim(generator="A"), claim(generator="B")

    assert Origin().statement is None
    assert Origin((one,)).statement == "The file declares: made with A, unsigned text."
    assert Origin((one, two, two)).statement.endswith("(2 more claims).")


@pytest.mark.parametrize(
    ("made", "named", "disagrees"),
    [
        (claim(generator="A", excludes=("b", "c")), ("b",), True),
        (claim(generator="A", excludes=("b", "c")), ("b", "c"), True),
        (claim(generator="A", excludes=("b",)), ("a", "b"), False),
        (claim(generator="A", excludes=("b",)), ("generated",), False),
        (claim(generator="A", excludes=("b",)), (), False),
        (claim(ClaimKind.CAPTURED), ("generated",), True),
        (claim(ClaimKind.CAPTURED), (), False),
        (claim(ClaimKind.PROCESSED, excludes=("b",)), ("b",), False),
    ],
)
def test_who_is_named_may_contradict_what_is_declared(made, named, disagrees):
    assert (Origin((made,)).disagreement(named, "them") is not None) == disagrees
