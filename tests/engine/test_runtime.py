"""Bundles and models are opened in one place."""

import pytest

from lineup.bundles.store import BundleStore
from lineup.errors import BundleNotFoundError, DeviceUnavailableError, UsageError
from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor
from lineup.runtime import Runtime


def test_a_bundle_is_verified_once(monkeypatch):
    opened = []
    original = BundleStore.open

    def open_bundle(self, reference):
        opened.append(reference)
        return original(self, reference)

    monkeypatch.setattr(BundleStore, "open", open_bundle)
    runtime = Runtime("cpu", threads=1)
    first = runtime.bundle(DEFAULT_BUNDLE)

    assert runtime.bundle(DEFAULT_BUNDLE) is runtime.bundle(first.path) is first
    with runtime.open(FingerprintExtractor, DEFAULT_BUNDLE) as extractor:
        assert extractor.digest == first.digest
    assert opened == [DEFAULT_BUNDLE]


def test_what_a_manifest_says_needs_no_verification():
    runtime = Runtime("cpu")

    assert runtime.unverified_bundle(DEFAULT_BUNDLE).digest == runtime.bundle(DEFAULT_BUNDLE).digest


def test_wrong_names_and_devices_are_told_when_they_are_needed():
    with pytest.raises(BundleNotFoundError, match="nothing-of-the-kind"):
        Runtime().bundle("nothing-of-the-kind")
    with pytest.raises((UsageError, DeviceUnavailableError)):
        Runtime("abacus").open(FingerprintExtractor, DEFAULT_BUNDLE)
