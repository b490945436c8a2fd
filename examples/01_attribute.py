"""Which source made this image? The same answer for a path, bytes, a PIL image and an array."""

from io import BytesIO

import numpy as np
from PIL import Image

import lineup
from lineup.paths import shipped_dir

# Drawn by a decoder that nobody enrolled, so no source is named; 02 enrols it.
SAMPLE = shipped_dir() / "samples" / "nearest-0.png"

with lineup.open() as engine:
    answer = engine.attribute(SAMPLE)
    verdict = answer.verdict
    print(f"{SAMPLE.name}: {verdict.title}, confidence {verdict.confidence}")
    for source, probability in sorted(verdict.posterior.items(), key=lambda item: -item[1])[:3]:
        print(f"  {source:15} {probability:.1%}")
    for evidence in verdict.evidence:
        print(f"  {evidence.name}: {evidence.cost_ms:.0f} ms")
        for source, ratio in evidence.llr.items():
            print(f"    {source:15} log likelihood ratio {ratio:+.2f}")

    data = SAMPLE.read_bytes()
    image = Image.open(SAMPLE)
    forms = [str(SAMPLE), data, BytesIO(data), image, np.asarray(image)]
    labels = {engine.attribute(form).verdict.label for form in forms}
    print(f"{len(forms)} forms, one answer: {labels}")
