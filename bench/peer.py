"""One simulated WebRTC caller: its offer, and ICE, DTLS and the keys of SRTP behind the answer.

Written by hand on the ground of a STUN codec, OpenSSL and libsrtp, and not with the gateway's own
peer connection, so that the benchmark measures the gateway from outside. As a browser does, it
controls ICE, nominates at once, and asks every 2.5 s whether the other side is there. It opens no
data channel. Every method returns the datagrams to send now; times are nanoseconds of any steady
clock.
"""

import secrets
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from aioice import stun
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from pylibsrtp import Policy, Session

CHECK_NS = 100_000_000
CONSENT_NS = 2_500_000_000
PATIENCE_NS = 10_000_000_000
"""From the offer to the first packet that can be sent."""
_HOST_PRIORITY = (126 << 24) + (65535 << 8) + 255  # RFC 8445 section 5.1.2.1
_MTU = 1200
_KEY_BYTES, _SALT_BYTES = 16, 14  # RFC 3711 section 8.2
_RTPMAPS = {"pcmu": "0 PCMU/8000", "opus": "111 opus/48000/2"}


class Identity:
    """The certificate that all callers of a run share."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        self._context = SSL.Context(SSL.DTLS_METHOD)
        self._context.use_certificate(certificate)
        self._context.use_privatekey(key)
        self._context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self._context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")

    def connection(self) -> SSL.Connection:
        """A new one, which waits for the other side to open it."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        connection.set_ciphertext_mtu(_MTU)
        return connection


class _Answer(NamedTuple):
    """What an answer says of the other side."""

    address: tuple[str, int]
    ufrag: str
    pwd: str


class Peer:
    """One call.

    Args:
        codec: `pcmu` or `opus`, the only one that is offered.
        local: host and port of our socket.
    """

    def __init__(self, codec: str, local: tuple[str, int], identity: Identity) -> None:
        self.ufrag, self._pwd = secrets.token_hex(4), secrets.token_hex(12)
        self.state = "idle"
        """`idle`, `calling`, `up`, `over`, or `failed`."""
        self.failure = ""
        self.remote: tuple[str, int] = ("", 0)
        self.setup_ns = 0
        self.outbound: Session
        self.inbound: Session
        """What encrypts and decrypts media, once the call is up."""
        self._codec = codec
        self._local = local
        self._identity = identity
        self._tie_breaker = secrets.randbits(64)
        self._answer: _Answer | None = None
        self._dtls = identity.connection()
        self._shaken = False
        self._found = False
        """Our check was answered: that is the way."""
        self._began_ns = self._check_ns = 0

    def offer(self, now_ns: int) -> str:
        self.state = "calling"
        self._began_ns = now_ns
        host, port = self._local
        rtpmap = _RTPMAPS[self._codec]
        return "\r\n".join(
            [
                "v=0",
                f"o=- {secrets.randbits(62)} 1 IN IP4 {host}",
                "s=-",
                "t=0 0",
                "a=group:BUNDLE 0",
                f"m=audio {port} UDP/TLS/RTP/SAVPF {rtpmap.split()[0]}",
                f"c=IN IP4 {host}",
                "a=mid:0",
                "a=sendrecv",
                "a=rtcp-mux",
                f"a=rtpmap:{rtpmap}",
                "a=ptime:20",
                "a=setup:actpass",
                f"a=fingerprint:sha-256 {self._identity.fingerprint}",
                f"a=ice-ufrag:{self.ufrag}",
                f"a=ice-pwd:{self._pwd}",
                f"a=candidate:1 1 udp {_HOST_PRIORITY} {host} {port} typ host",
                "a=end-of-candidates",
                "",
            ]
        )

    def take_answer(self, text: str, now_ns: int) -> list[bytes]:
        said: dict[str, str] = {}
        addresses: list[tuple[str, int]] = []
        for line in text.splitlines():
            name, _, value = line.removeprefix("a=").partition(":")
            said.setdefault(name, value)
            words = value.split()
            if name == "candidate" and words[2].lower() == "udp" and ":" not in words[4]:
                addresses.append((words[4], int(words[5])))
        # Of several the one that our own socket is at, which needs no route.
        addresses.sort(key=lambda address: address[0] != self._local[0])
        if not addresses or said.get("setup") != "active":
            self.fail("the answer has no IPv4 candidate, or leaves DTLS to us")
            return []
        self.remote = addresses[0]
        self._answer = _Answer(addresses[0], said["ice-ufrag"], said["ice-pwd"])
        return self.tick(now_ns)

    def tick(self, now_ns: int) -> list[bytes]:
        """See to what is due; call it every now and then."""
        if self.state == "calling" and now_ns - self._began_ns > PATIENCE_NS:
            self.fail("no connection came about")
        if self._answer is None or self.state not in ("calling", "up") or now_ns < self._check_ns:
            return []
        self._check_ns = now_ns + (CONSENT_NS if self._found else CHECK_NS)
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{self._answer.ufrag}:{self.ufrag}"
        request.attributes["PRIORITY"] = _HOST_PRIORITY
        request.attributes["ICE-CONTROLLING"] = self._tie_breaker
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(self._answer.pwd.encode())
        return [bytes(request)]

    def receive(self, data: bytes, source: tuple[str, int], now_ns: int) -> list[bytes]:
        """Something came that is not media: STUN or DTLS (RFC 7983)."""
        if data[0] <= 3:
            return self._receive_stun(data, source)
        if 20 <= data[0] <= 63:
            self._dtls.bio_write(data)
            return self._receive_dtls(now_ns)
        return []

    def hang_up(self) -> list[bytes]:
        """DTLS is how a peer says that it goes."""
        if self.state != "up":
            return []
        self.state = "over"
        self._dtls.shutdown()
        return self._written()

    def fail(self, why: str) -> None:
        self.state, self.failure = "failed", why

    def _receive_stun(self, data: bytes, source: tuple[str, int]) -> list[bytes]:
        try:
            message = stun.parse_message(data)
        except ValueError:
            return []
        if message.message_class == stun.Class.RESPONSE:
            self._found = True
        if message.message_class != stun.Class.REQUEST:
            return []
        response = stun.Message(
            stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=message.transaction_id
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = source
        response.add_message_integrity(self._pwd.encode())
        return [bytes(response)]

    def _receive_dtls(self, now_ns: int) -> list[bytes]:
        try:
            if not self._shaken:
                self._dtls.do_handshake()
                self._shaken = True
                self._take_keys()
                self.state, self.setup_ns = "up", now_ns - self._began_ns
            self._dtls.recv(_MTU)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            if self.state == "up":
                self.fail("the gateway ended the call")
        except SSL.Error:
            self.fail("DTLS failed")
        return self._written()

    def _take_keys(self) -> None:
        """RFC 5764 section 4.2; the other side is the client."""
        keys = self._dtls.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (_KEY_BYTES + _SALT_BYTES)
        )
        salts = keys[2 * _KEY_BYTES :]
        theirs = keys[:_KEY_BYTES] + salts[:_SALT_BYTES]
        ours = keys[_KEY_BYTES : 2 * _KEY_BYTES] + salts[_SALT_BYTES:]
        self.outbound = Session(Policy(key=ours, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        self.inbound = Session(Policy(key=theirs, ssrc_type=Policy.SSRC_ANY_INBOUND))

    def _written(self) -> list[bytes]:
        try:
            return [self._dtls.bio_read(65_535)]
        except SSL.WantReadError:
            return []


def addressee(data: bytes) -> str:
    """The `ufrag` of the peer that a check is for; empty for what is no check."""
    try:
        message = stun.parse_message(data)
    except ValueError:
        return ""
    return str(message.attributes.get("USERNAME", "")).partition(":")[0]
