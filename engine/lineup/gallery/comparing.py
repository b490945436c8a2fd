"""How well images fit each generator's support, channel by channel, as z-scores.

The scores of one channel (`lineup.gallery.channel_comparing`) are compared with those of images of
the same channel that the source did not make: photographs where the gallery has some, else the
other generators' images. What is left is the number of standard deviations by which a query fits
better than those (score normalisation of speaker verification). One channel has to serve all: that
of the largest sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lineup.channels import CLEAN, DRAWN
from lineup.gallery.channel_comparing import (
    ChannelComparison,
    Images,
    PartComparison,
    fitted_channel,
)
from lineup.gallery.discriminant import Discriminant
from lineup.gallery.gallery import Gallery
from lineup.gallery.kept_fits import KeptFits
from lineup.gallery.support import STRENGTHS, SupportSet, view_key
from lineup.gallery.whitening import Whitening, products, whitening_from_photographs
from lineup.types import AnyArray, Float32Array, Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """How well images fit each generator, in the channel in which they fit it best.

    Attributes:
        z: Z-score per kind of score (see the module), (n, known, kinds).
        channels: Index of the channel in `Comparison.channels`, (n, known).
    """

    z: Float64Array
    channels: npt.NDArray[np.intp]

    @property
    def together(self) -> Float64Array:
        """Sum of the kinds, (n, known)."""
        return np.asarray(self.z.sum(axis=2))


class Comparison:
    """Compares images with the candidates of one gallery.

    Args:
        gallery: The known sources.
        embeddings: Key of the embeddings to compare (`ReferenceEncoder.key`); None compares
            fingerprints alone.
        parts: Lengths of what a fingerprint is made of; empty: it is one.
        kept: Where fits are kept; None fits anew.

    Attributes:
        candidates: All of the gallery's, or those with embeddings.
        known: These, then the gallery's further generators: the columns of every array returned
            here. None where there is no candidate.
        strangers: Photographs.
        kinds: How many kinds of score there are (see the module).
        channels: All that any of the known is known in.
        own_fits: How well the images of all that are known, then of the strangers, fit each of the
            known as queries come: through the drawn channel where they were enrolled so. What is
            compared with them knows nothing of the image (`ChannelComparison.scores`).

    Raises:
        GalleryError: The gallery holds numbers that are not finite.
    """

    def __init__(
        self,
        gallery: Gallery,
        embeddings: str | None = None,
        parts: Sequence[int] = (),
        kept: KeptFits | None = None,
    ) -> None:
        self._embeddings = embeddings
        ends = np.cumsum([0, *parts]).tolist()
        slices = [slice(*ends_of) for ends_of in pairwise(ends)] or [slice(None)]
        self._parts = tuple(slices if embeddings is None else slices[:1])
        self.kinds = len(self._parts) + (1 if embeddings is None else 2)
        self.candidates, others, self.strangers = (
            tuple(one for one in supports if embeddings is None or one.has_embeddings(embeddings))
            for supports in (gallery.candidates, gallery.others, gallery.reals)
        )
        self.known = (*self.candidates, *others) if self.candidates else ()
        self._everybody = (*self.known, *self.strangers)
        self.channels = _bank_channels(self.known)
        if kept is None:
            fit = self._fit()
        else:
            fit = kept.fit(f"{gallery.digest} {embeddings} {tuple(parts)}", self._fit)
        self._whiten = _whitening_from_fit(fit)
        self._compared = [self._channel_from_fit(fit, channel) for channel in self.channels]
        self.own_fits = [
            Fits(fit[f"{number}/z"], fit[f"{number}/channels"])
            for number in range(len(self._everybody) if self.channels else 0)
        ]

    def fits(self, images: Images) -> Fits:
        """Return how well images, with embeddings if this compares them, fit each of the known."""
        seen = self._whitened(images)
        return _best([one.z(seen) for one in self._compared])

    def nearness(self, image: Images, support: SupportSet, channel: str) -> Float32Array:
        """Return the cosine of one image with each of a support's images after a channel, (N,).

        Of embeddings, where this compares them.
        """
        own, seen = self._whitened(image), self._seen(support, channel)
        if own.embeddings is None or seen.embeddings is None:
            return np.asarray(products(own.fingerprints, seen.fingerprints)[0])
        return np.asarray(products(own.embeddings, seen.embeddings)[0])

    def _fit(self) -> dict[str, AnyArray]:
        """Return all that queries are compared by but the gallery's embeddings, by name."""
        fit: dict[str, AnyArray] = {}
        if self._embeddings is not None and self._everybody:
            fit |= _solid(asdict(whitening_from_photographs(self._embeddings_of_photographs())))
        self._whiten = _whitening_from_fit(fit)
        clean = [self._seen(one, CLEAN) for one in self._everybody]
        strengths = [one.strengths for one in clean]
        typical = np.median(np.concatenate(strengths)) if strengths else 1.0
        fit["typical"] = np.array([typical], np.float64)
        asking = [
            self._seen(one, DRAWN) if DRAWN in one.channels else None for one in self._everybody
        ]
        z: list[list[Float64Array]] = [[] for _ in self._everybody]
        for channel in self.channels:
            known = {
                number: clean[number] if channel == CLEAN else self._seen(one, channel)
                for number, one in enumerate(self._everybody)
                if channel in one.channels
            }
            fitted = fitted_channel(known, clean, len(self.known), float(typical), self._parts)
            for number, images in enumerate(asking):
                z[number].append(fitted.z(images or clean[number], own=number))
            arrays = _solid(fitted.arrays())
            fit |= {f"{channel}/{name}": values for name, values in arrays.items()}
        for number, found in enumerate(z if self.channels else ()):
            best = _best(found)
            fit |= _solid({f"{number}/z": best.z, f"{number}/channels": best.channels})
        return fit

    def _channel_from_fit(self, fit: Mapping[str, AnyArray], channel: str) -> ChannelComparison:
        columns = [at for at, one in enumerate(self.known) if channel in one.channels]
        sources = [self.known[at] for at in columns]
        typical = float(fit["typical"][0])
        return ChannelComparison(
            len(self.known),
            [
                PartComparison(part, typical, fit[f"{channel}/means-{number}"])
                for number, part in enumerate(self._parts)
            ],
            [rows for one in sources if (rows := self._embedded(one, channel)) is not None],
            Discriminant(tuple(columns), fit[f"{channel}/slopes"], fit[f"{channel}/bias"]),
            fit[f"{channel}/others"],
        )

    def _seen(self, support: SupportSet, channel: str) -> Images:
        """Return a support as it is after a channel, its embeddings whitened."""
        strengths = support.views.get(view_key(channel, STRENGTHS))
        return Images(
            support.seen_through(channel),
            np.ones(len(support), np.float32)
            if strengths is None
            else strengths.astype(np.float32),
            self._embedded(support, channel),
        )

    def _embedded(self, support: SupportSet, channel: str) -> Float32Array | None:
        if self._embeddings is None or self._whiten is None:
            return None
        return self._whiten(support.views[view_key(channel, self._embeddings)].astype(np.float32))

    def _whitened(self, images: Images) -> Images:
        if self._whiten is None or images.embeddings is None:
            return images
        return replace(images, embeddings=self._whiten(images.embeddings))

    def _embeddings_of_photographs(self) -> Float32Array:
        assert self._embeddings is not None
        key = self._embeddings
        dimension = self._everybody[0].views[view_key(CLEAN, key)].shape[1]
        found = [
            one.views[view_key(channel, key)].astype(np.float32)
            for one in self.strangers
            for channel in one.channels
            if channel != DRAWN
        ]
        return np.concatenate([*found, np.empty((0, dimension), np.float32)])


def _solid(arrays: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Return arrays as a file gives them: how they lie in memory decides how sums are rounded."""
    return {name: np.ascontiguousarray(values) for name, values in arrays.items()}


def _whitening_from_fit(fit: Mapping[str, AnyArray]) -> Whitening | None:
    names = [one.name for one in fields(Whitening)]
    return Whitening(*(fit[name] for name in names)) if set(names) <= set(fit) else None


def _bank_channels(supports: Sequence[SupportSet]) -> tuple[str, ...]:
    """Return all channels that any support is known in, but for the drawn one."""
    found = dict.fromkeys(channel for support in supports for channel in support.channels)
    return tuple(channel for channel in found if channel != DRAWN)


def _best(z: Sequence[Float64Array]) -> Fits:
    """Return, per candidate, the channel of the largest sum; z per channel, (n, S, kinds)."""
    every = np.stack(z, axis=2)
    best = every.sum(axis=3).argmax(axis=2)
    return Fits(np.take_along_axis(every, best[:, :, None, None], axis=2)[:, :, 0], best)
