"""libsrtp sending with a key that has a number, which pylibsrtp knows no words for.

The library is the one inside pylibsrtp, called past it.
"""

from ctypes import (
    CDLL,
    POINTER,
    Structure,
    byref,
    c_int,
    c_ubyte,
    c_uint,
    c_ulong,
    c_void_p,
    create_string_buffer,
    pointer,
)

from pylibsrtp import _binding

from gateway.sdp.crypto import Suite

_PROFILES: dict[Suite, int] = {
    "AES_CM_128_HMAC_SHA1_80": 1,
    "AES_CM_128_HMAC_SHA1_32": 2,
    "AEAD_AES_128_GCM": 7,
    "AEAD_AES_256_GCM": 8,
}
_ANY_OUTBOUND = 3
_LIB = CDLL(_binding.__file__)


class _MasterKey(Structure):
    _fields_ = (("key", POINTER(c_ubyte)), ("mki", POINTER(c_ubyte)), ("mki_size", c_uint))


class _Crypto(Structure):
    _fields_ = (
        ("cipher_type", c_uint),
        ("cipher_key_len", c_int),
        ("auth_type", c_uint),
        ("auth_key_len", c_int),
        ("auth_tag_len", c_int),
        ("services", c_int),
    )


class _Policy(Structure):
    _fields_ = (
        ("ssrc_type", c_int),
        ("ssrc", c_uint),
        ("rtp", _Crypto),
        ("rtcp", _Crypto),
        ("key", POINTER(c_ubyte)),
        ("keys", POINTER(POINTER(_MasterKey))),
        ("key_count", c_ulong),
        ("unused", c_void_p),
        ("window_size", c_ulong),
        ("allow_repeat_tx", c_int),
        ("encrypted_extensions", POINTER(c_int)),
        ("encrypted_extension_count", c_int),
        ("next", c_void_p),
    )


class MkiSender:
    """One that seals under a single key, and says its number in each packet."""

    def __init__(self, suite: Suite, key: bytes, mki: bytes) -> None:
        policy = _Policy(ssrc_type=_ANY_OUTBOUND, window_size=1024, key_count=1)
        profile = _PROFILES[suite]
        _must(_LIB.srtp_crypto_policy_set_from_profile_for_rtp(byref(policy.rtp), profile))
        _must(_LIB.srtp_crypto_policy_set_from_profile_for_rtcp(byref(policy.rtcp), profile))
        master = _MasterKey(
            (c_ubyte * len(key)).from_buffer_copy(key),
            (c_ubyte * len(mki)).from_buffer_copy(mki),
            len(mki),
        )
        policy.keys = pointer(pointer(master))
        self._session = c_void_p()
        _must(_LIB.srtp_create(byref(self._session), byref(policy)))

    def protect(self, packet: bytes) -> bytes:
        return self._sealed(packet, _LIB.srtp_protect_mki)

    def protect_rtcp(self, report: bytes) -> bytes:
        return self._sealed(report, _LIB.srtp_protect_rtcp_mki)

    def __del__(self) -> None:
        _LIB.srtp_dealloc(self._session)

    def _sealed(self, data: bytes, protect: object) -> bytes:
        assert callable(protect)
        buffer = create_string_buffer(data, len(data) + 256)
        size = c_int(len(data))
        _must(protect(self._session, buffer, byref(size), c_uint(1), c_uint(0)))
        return buffer.raw[: size.value]


def _must(status: int) -> None:
    assert status == 0, f"libsrtp says {status}"
