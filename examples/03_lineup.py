"""Attribute by resynthesis as well: candidate generators draw the image's caption again."""

from pathlib import Path
from tempfile import TemporaryDirectory

import lineup
from lineup.paths import shipped_dir
from lineup.picture import write_picture

SAMPLE = shipped_dir() / "samples" / "pocket" / "cedar.png"

# With the cache (the default), a second question about the same image costs next to nothing.
with lineup.open("pocket", cache=False) as engine:
    answer = engine.attribute(SAMPLE)

verdict = answer.verdict
print(f"{SAMPLE.name}: {verdict.title}, confidence {verdict.confidence}")
print(f"caption: {verdict.caption}")
for evidence in verdict.evidence:
    best = max(evidence.llr, key=evidence.llr.get)
    print(f"  {evidence.name:23} {evidence.cost_ms:5.0f} ms   {best} {evidence.llr[best]:+.1f}")

with TemporaryDirectory() as folder:
    picture = Path(folder, "picture.png")
    write_picture(picture, lineup.read_image(SAMPLE).pixels, answer, title=SAMPLE.name)
    print(f"the query beside each candidate's closest resynthesis: {picture.stat().st_size} bytes")
