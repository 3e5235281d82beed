"""Who we are to a peer: a certificate that nobody signed, whose digest signalling vouches for."""

from datetime import UTC, datetime, timedelta

from aiortc import RTCCertificate

from gateway.sdp.webrtc import Fingerprint

_RENEWED_BEFORE = timedelta(days=1)
"""Longer than any call that began with it."""
_DIGEST = "sha-256"
"""The one that every peer knows (RFC 8122 section 5); another would only lengthen the answer."""


class Certificates:
    """Gives out one certificate until it is about to expire, a month after it was made."""

    def __init__(self) -> None:
        self._current: RTCCertificate | None = None

    def current(self) -> RTCCertificate:
        certificate = self._current
        if certificate is None or certificate.expires - datetime.now(UTC) < _RENEWED_BEFORE:
            certificate = self._current = RTCCertificate.generateCertificate()
        return certificate


def fingerprint(certificate: RTCCertificate) -> Fingerprint:
    told = {one.algorithm: one.value for one in certificate.getFingerprints()}
    return Fingerprint(_DIGEST, told[_DIGEST])
