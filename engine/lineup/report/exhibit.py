"""One answer as a PDF to be filed: what was asked of which image, by what, and how sure it is.

The same answer gives the same bytes: no clock is read, and times are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from lineup.answering import Answering
from lineup.errors import UsageError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.options import AttributionOptions
from lineup.report.about import LIMITS, calibrated_rates, method, rates_in_words
from lineup.report.sheet import Facts, Sheet
from lineup.results import REFERENCE, RESYNTHESIS_EVIDENCE, Attribution, Verdict
from lineup.types import RgbImage
from lineup.wording import caveat_from_verdict, remarks, sentence_from_verdict


def write_exhibit(
    path: Path,
    answer: Attribution,
    pixels: RgbImage,
    engine: Answering,
    options: AttributionOptions,
    *,
    dated: datetime,
) -> None:
    """Write the exhibit of one image.

    Args:
        path: The PDF; replaced in one step.
        answer: With a verdict.
        pixels: Of the image, shape (H, W, 3), uint8 RGB.
        engine: What answered.
        options: What was asked.
        dated: The date that the exhibit bears.

    Raises:
        UsageError: The file cannot be written.
    """
    verdict, asked = answer.verdict, engine.evidence_of(options)
    assert verdict is not None
    sheet = Sheet(answer.sha256 or "", dated)
    disagreement = answer.disagreement and f"They disagree: {answer.disagreement}."
    statement = answer.origin and answer.origin.statement
    told = [one for one in (statement, disagreement, caveat_from_verdict(verdict)) if one]
    name = Path(answer.path or "image").name
    sheet.head(name, told, sentence_from_verdict(verdict), pixels)
    sheet.heading("The image")
    sheet.facts(_about_image(answer))
    sheet.heading("What answered (SHA-256 of models and data)")
    sheet.facts([("program", f"lineup {answer.lineup}, run {answer.run}")])
    sheet.facts(_about_engine(engine, asked))
    sheet.heading("Evidence")
    sheet.grid(*_evidence(verdict))
    sheet.facts(_about_evidence(verdict))
    if answer.resyntheses is not None:
        made = answer.resyntheses
        sheet.pictures([(name, made.best_image(name)) for name in made.images])
    sheet.heading("Declared origin")
    sheet.lines(_declared(answer))
    sheet.heading("How the answer comes about")
    sheet.lines(method(one.name for one in verdict.evidence))
    sheet.heading("Limits and error rates")
    sheet.lines([*_rates(engine, asked, options), *LIMITS])
    sheet.heading("Known sources, and the number of images that each is known by")
    sources = (f"{one.name} ({len(one)})" for one in engine.gallery.sources.values())
    sheet.lines([", ".join(sources) + "."])
    try:
        write_atomic(path, bytes(sheet.output()))
    except OSError as error:
        raise UsageError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Give a file in a folder that can be written to.",
        ) from error


def _about_engine(engine: Answering, asked: Sequence[str]) -> Facts:
    """Return names and SHA-256 of what answered."""
    calibration = engine.calibration
    facts = [
        ("lineup", engine.lineup.spec.name),
        ("fingerprint", f"{engine.extractor.name}, {engine.extractor.digest}"),
        *([("encoder", engine.encoder.digest)] if REFERENCE in asked else []),
        ("gallery", engine.gallery.digest),
        (
            "calibration",
            "by the gallery's own images"
            if calibration is None
            else sha256_from_bytes(calibration.text.encode()),
        ),
    ]
    if set(asked) & set(RESYNTHESIS_EVIDENCE):
        facts += [("model", digest) for digest in engine.models.digests]
    return facts


def _rates(engine: Answering, asked: Sequence[str], options: AttributionOptions) -> list[str]:
    """Return what is known of how often such answers are wrong, a sentence each."""
    if engine.calibration is None:
        return rates_in_words(asked)
    settings = engine.evidence_options(engine.settings(options))
    return calibrated_rates(asked, engine.calibration, settings)


def _about_image(answer: Attribution) -> Facts:
    size = f"{answer.width_px} × {answer.height_px} pixels, {answer.format or 'no file'}"
    length = "" if answer.size_bytes is None else f", {answer.size_bytes:,} bytes"
    return [
        ("file", Path(answer.path or "image").name),
        ("SHA-256", answer.sha256 or "unknown"),
        ("size", size + length),
        *(("note", note) for note in answer.notes),
    ]


def _evidence(verdict: Verdict) -> tuple[list[str], list[list[str]], list[bool]]:
    """Return the headings, the cells, and which rows are the answer's."""
    head = ["source", "posterior"]
    for one in verdict.evidence:
        head += [f"{one.name} score", "LLR"] if one.scores else [f"{one.name} LLR"]
    rows, named = [], []
    for name, share in sorted(verdict.posterior.items(), key=lambda item: -item[1]):
        cells = [name, f"{100 * share:.1f} %"]
        for one in verdict.evidence:
            if one.scores:
                cells.append(f"{one.scores[name]:.2f}" if name in one.scores else "")
            cells.append(f"{one.llr[name]:+.2f}" if name in one.llr else "")
        rows.append(cells)
        named.append(name in verdict.named)
    return head, rows, named


def _about_evidence(verdict: Verdict) -> Facts:
    facts = []
    for one in verdict.evidence:
        if one.channel is not None:
            facts.append(("channel", f"{one.channel}, by {one.name}"))
        if one.nearest:
            facts.append(("nearest", f"{', '.join(one.nearest)}, by {one.name}"))
        if one.in_words is not None:
            facts.append((one.name, one.in_words))
    if verdict.candidates_set:
        facts.append(("conformal set", ", ".join(verdict.candidates_set)))
    if verdict.caption is not None:
        facts.append(("caption", verdict.caption))
    return [*facts, *(("remark", note) for note in remarks((), verdict))]


def _declared(answer: Attribution) -> list[str]:
    origin = answer.origin
    if origin is None:
        return ["Not read."]
    lines = []
    for claim in origin.claims:
        lines.append(f"{claim.reader}: {claim.text}.")
        lines += [f"    {name}: {text}" for name, text in claim.details.items()]
    lines += origin.notes
    return lines or ["The file declares nothing of its origin, which is evidence of nothing."]
