"""C2PA Content Credentials: what is signed, by whom, and whether it holds.

Read by `c2pa-python`, which is imported when a file carries a manifest and not before. Nothing is
fetched: neither certificate states (OCSP) nor manifests that lie elsewhere.
"""

from __future__ import annotations

import functools
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lineup.claims import Claim, ClaimKind, Signature
from lineup.imaging.header import ImageFormat
from lineup.origin.metadata import kind_from_source_type
from lineup.paths import shipped_dir

if TYPE_CHECKING:
    from c2pa import Context

Manifest: TypeAlias = Mapping[str, Any]

TRUST_LIST_VARIABLE = "LINEUP_C2PA_TRUST_LIST"
"""Names a PEM file of certificates that is taken instead of the shipped list."""

TRUST_LIST = "c2pa-trust-list.pem"
"""The C2PA Trust List as its operator issued it on 2026-08-05: `trust-list/C2PA-TRUST-LIST.json` of
github.com/c2pa-org/conformance-public, commit 0af418f0, 29 certificates, CC BY 4.0."""

NOT_READ = "signed C2PA data are there and were not read"

MOST_ANCESTORS = 8
_SIGNER_CODES = "signingCredential."
_UNTRUSTED = "signingCredential.untrusted"


def claim_from_credentials(data: bytes, image_format: ImageFormat) -> Claim | str | None:
    """Return what the C2PA manifest of a file declares, or in words why it was not read.

    None where the file has none: its boxes hold other data.
    """
    try:
        import c2pa  # noqa: PLC0415 - 50 ms and 23 MB that most scans never need
    except ImportError:
        return f"{NOT_READ}: pip install c2pa-python"
    try:
        context = _context(os.environ.get(TRUST_LIST_VARIABLE))
    except (OSError, UnicodeDecodeError, c2pa.C2paError) as error:
        return f"{NOT_READ}: {TRUST_LIST_VARIABLE} names no list of certificates: {error}"
    try:
        mime = f"image/{image_format.value}"
        reader = c2pa.Reader.try_create(mime, io.BytesIO(data), None, context)
        if reader is None:
            return None
        with reader:
            return _claim_from_store(json.loads(reader.json()))
    except (
        c2pa.C2paError,
        ValueError,
        RecursionError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        reason = str(error) or type(error).__name__
        strength = f"signed data that cannot be read: {reason}"
        return Claim("c2pa", ClaimKind.PROCESSED, strength, signature=Signature.BROKEN)


@functools.cache
def _context(trust_list: str | None) -> Context:
    """Return the settings of every reading; `trust_list` None takes the shipped list."""
    import c2pa  # noqa: PLC0415 - as above

    path = Path(trust_list) if trust_list else shipped_dir() / TRUST_LIST
    verify = {"verify_trust": True, "ocsp_fetch": False, "remote_manifest_fetch": False}
    settings = {"trust": {"trust_anchors": path.read_text("utf-8")}, "verify": verify}
    return c2pa.Context(c2pa.Settings.from_json(json.dumps(settings)))


def _claim_from_store(store: Mapping[str, Any]) -> Claim:
    manifests = store["manifests"]
    active = manifests[store["active_manifest"]]
    made_by, kind = active, None
    for manifest in _ancestors(active, manifests):
        kind = _kind(manifest)
        if kind is not None:
            made_by = manifest
            break
    generator, version = _generator(made_by)
    state, words = _state(store)
    signer = active.get("signature_info") or {}
    return Claim(
        "c2pa",
        kind or ClaimKind.PROCESSED,
        f"signed by {signer.get('issuer') or signer.get('common_name') or 'nobody named'}, {words}",
        generator=generator,
        version=version,
        details=_details(active, made_by, signer),
        signature=state,
    )


def _ancestors(manifest: Manifest, manifests: Mapping[str, Manifest]) -> Iterator[Manifest]:
    """Yield a manifest and, from each on, that of the file which it was made from."""
    for _ in range(MOST_ANCESTORS):
        yield manifest
        parents = [
            one.get("active_manifest")
            for one in manifest.get("ingredients", ())
            if one.get("relationship") == "parentOf"
        ]
        if not parents or parents[0] not in manifests:
            return
        manifest = manifests[parents[0]]


def _actions(manifest: Manifest) -> Iterator[Mapping[str, Any]]:
    for assertion in manifest.get("assertions", ()):
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            yield from assertion["data"]["actions"]


def _kind(manifest: Manifest) -> ClaimKind | None:
    """Return what the actions' source types say; an edit outweighs the capture before it."""
    types = [str(action.get("digitalSourceType", "")) for action in _actions(manifest)]
    kinds = {kind_from_source_type(one) for one in types}
    order = (ClaimKind.GENERATED, ClaimKind.EDITED, ClaimKind.CAPTURED)
    return next((kind for kind in order if kind in kinds), None)


def _generator(manifest: Manifest) -> tuple[str | None, str | None]:
    """Return name and version: since version 2 in a field each, before as "name/version ..."."""
    info = (manifest.get("claim_generator_info") or [{}])[0]
    if info.get("name"):
        return str(info["name"]), _string(info.get("version"))
    name, _, version = str(manifest.get("claim_generator") or "").partition(" ")[0].partition("/")
    return name or None, version or None


def _agent(action: Mapping[str, Any]) -> str:
    agent = action.get("softwareAgent") or ""
    if isinstance(agent, str):
        return agent
    return " ".join(str(agent[key]) for key in ("name", "version") if agent.get(key))


def _details(active: Manifest, made_by: Manifest, signer: Mapping[str, Any]) -> dict[str, str]:
    actions = [*_actions(active), *(() if made_by is active else _actions(made_by))]
    types = [str(one.get("digitalSourceType", "")).rpartition("/")[2] for one in actions]
    made_from = [
        f"{one.get('title') or 'a file without a title'} ({one.get('relationship', 'ingredient')})"
        for one in active.get("ingredients", ())
    ]
    details = {
        "software agent": _joined(map(_agent, actions)),
        "actions": _joined(str(one.get("action", "")) for one in actions),
        "source type": _joined(types),
        "made from": _joined(made_from),
        "last program": "" if made_by is active else " ".join(filter(None, _generator(active))),
        "certificate": str(signer.get("common_name") or ""),
        "signed at": str(signer.get("time") or ""),
    }
    return {name: text for name, text in details.items() if text}


def _joined(texts: Any) -> str:
    return ", ".join(dict.fromkeys(text for text in texts if text))


def _state(store: Mapping[str, Any]) -> tuple[Signature, str]:
    """Return the state of the active manifest's signature, and in words what was found."""
    results = (store.get("validation_results") or {}).get("activeManifest") or {}
    failures = [str(one["code"]) for one in results.get("failure", ())]
    broken = [code for code in failures if not code.startswith(_SIGNER_CODES)]
    if broken:
        return Signature.BROKEN, f"broken: {_words(broken)}"
    if not failures and store.get("validation_state") == "Trusted":
        return Signature.TRUSTED, "signature holds"
    others = [code.removeprefix(_SIGNER_CODES) for code in failures if code != _UNTRUSTED]
    more = f", its certificate {' and '.join(others)}" if others else ""
    return Signature.UNTRUSTED, f"signature holds, signer not in the trust list{more}"


def _words(codes: list[str]) -> str:
    if any(code.startswith("claimSignature.") for code in codes):
        return f"the signature does not fit ({codes[0]})"
    if any(code.endswith("Hash.mismatch") for code in codes):
        return "the picture was changed after it was signed (its hash differs)"
    if any(code.startswith("assertion.") for code in codes):
        return "a statement was changed after it was signed (its hash differs)"
    return ", ".join(codes)


def _string(value: object) -> str | None:
    return None if value is None else str(value)
