"""A verdict in words: the sentences that terminal, page, report and exhibit share."""

from __future__ import annotations

from collections.abc import Sequence

from lineup.channels import CLEAN, text_from_channel
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED, Verdict

LIKELIEST = 3
NO_PROOF = "Nothing found is no proof of a photograph."
NO_NAME = "A generator that is not in the gallery may be given a name that is."
NO_CERTAINTY = "A photograph or a drawing may be called generated."


def sentence_from_verdict(verdict: Verdict) -> str:
    """Return the verdict as people say it."""
    share = verdict.title_probability
    if share is None:
        if is_unjudged(verdict):
            return "Undetermined: nothing in this image speaks for or against any source."
        perhaps = _almost_named(verdict)
        return f"Undetermined: {f'perhaps {perhaps}' if perhaps else 'no source stands out'}."
    if verdict.label == GENERATED:
        perhaps = _almost_named(verdict)
        by = f"perhaps by {perhaps}" if perhaps else "by none of the sources known"
        return f"Most likely generated ({percent(share)}), {by}."
    channel = verdict.channel
    seen = "" if channel in (None, CLEAN) else f"; seen through {text_from_channel(channel)}"
    return f"Most likely made by {verdict.title} ({percent(share)}){seen}."


def _almost_named(verdict: Verdict) -> str:
    """Return the source that is likelier than all else where none is named; "" if none is."""
    name = max(verdict.posterior, key=verdict.posterior.__getitem__)
    if name in {GENERATED, PHOTOGRAPH}:
        return ""
    return f"{name}, at {percent(verdict.posterior[name])} too little for a name"


def is_unjudged(verdict: Verdict) -> bool:
    """Tell whether no evidence says anything; the published procedures have scores alone."""
    return not verdict.evidence or all(
        one.llr and not any(one.llr.values()) for one in verdict.evidence
    )


def likeliest_sources(verdict: Verdict) -> dict[str, float]:
    """Return the posterior of the likeliest sources, the first first."""
    nobody = (GENERATED, PHOTOGRAPH)
    sources = [(name, p) for name, p in verdict.posterior.items() if name not in nobody]
    return dict(sorted(sources, key=lambda item: -item[1])[:LIKELIEST])


def caveat_from_verdict(verdict: Verdict) -> str:
    """Return what such a verdict does not say."""
    return {GENERATED: NO_CERTAINTY, UNDETERMINED: NO_PROOF}.get(verdict.label, NO_NAME)


def remarks(notes: Sequence[str], verdict: Verdict) -> list[str]:
    """Return what the reader (`notes`) and the evidence remarked, each once."""
    evidence = [note for one in verdict.evidence for note in one.notes]
    return list(dict.fromkeys((*notes, *verdict.notes, *evidence)))


def percent(share: float) -> str:
    """Return a probability for people, e.g. "97 %"; with a decimal near 0 and 1."""
    return f"{100 * share:.0f} %" if 0.01 <= share <= 0.99 else f"{100 * share:.1f} %"
