"""Digest authentication of our requests (RFC 3261 section 22, RFC 8760, RFC 7616, RFC 2617).

Who asks for a proof is given a hash of the password, mixed with whatever it chose to ask with. In
the hands of a stranger that is enough to try passwords at leisure, and a stranger is what every
peer of a call is: it can refuse our BYE or REFER with a challenge of its own making. So a call
answers challenges only if it is one of ours and was given credentials, only for the realm that
these are for, and only where its INVITE was sent to, or where else DNS has the trunk that carries
it: never at an address that only a Contact or Record-Route names. Calls that came in never answer
any: a proxy passes the challenges of whoever calls us on to us.

Left out: `auth-int` and `-sess`, which no trunk asks for alone, and user names in other characters
sets than UTF-8.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from gateway.sip.message import FORBIDDEN, Headers, Request, Response

MAX_STALE = 3
"""So often a request is repeated because the nonce of its proof was no longer fresh."""
MAX_COUNT = 0xFFFFFFFF
MAX_REALM_TOLD = 64

_ANSWERS = {401: ("WWW-Authenticate", "Authorization")}
_ANSWERS |= {407: ("Proxy-Authenticate", "Proxy-Authorization")}
PROOFS = tuple(proof for _, proof in _ANSWERS.values())
"""The headers that carry an answer to a challenge."""

_ALGORITHMS = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
_SCHEME = re.compile(r"Digest[ ]++(?=[^ ])", re.I)
_PARAM = re.compile(
    r"[ ]*+(?P<name>[A-Za-z0-9\-.!%*_+`'~]++)[ ]*+=[ ]*+"
    r'(?:"(?P<quoted>(?:[^"\\]++|\\.)*+)"|(?P<plain>[^ ",;\\]++))[ ]*+(?:,|$)'
)
_MORE_OPTIONS = re.compile(r"(?:[ ]*+[A-Za-z0-9\-]++[ ]*+(?:,|$))++")
_ESCAPED_CHAR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a trunk. Raises ValueError for what no header can carry."""

    username: str
    password: str = field(repr=False)
    realm: str
    """The only one they are for."""
    realm_is_host: bool = False
    """Whether the realm is the name of a host, the case of which says nothing."""

    def __post_init__(self) -> None:
        # Of a text that cannot be encoded, the codec's own error would quote the password.
        for name, text in (
            ("user name", self.username),
            ("password", self.password),
            ("realm", self.realm),
        ):
            if FORBIDDEN.search(text):
                raise ValueError(f"control character or line break in the {name} of a trunk")
        if not self.username:
            raise ValueError("a trunk's user name must not be empty")

    def are_for(self, realm: str) -> bool:
        """Whether whoever asks in the name of `realm` may be told."""
        if self.realm_is_host:
            return realm.lower() == self.realm.lower()
        return realm == self.realm


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server wants proven, and how."""

    realm: str
    nonce: str
    algorithm: str | None = None
    """As spelled, one that we know; None (RFC 2069) is MD5."""
    qop: bool = False
    """Whether it takes `auth`; False asks for the form of RFC 2069."""
    opaque: str | None = None
    stale: bool = False
    """The proof was right, only its nonce too old."""


def challenges(headers: Headers, name: str) -> list[Challenge]:
    """Those of the lines called `name` that we can answer, in the server's order."""
    found = (_challenge(value) for value in headers.get_all(name))
    return [challenge for challenge in found if challenge is not None]


def realm_asked(response: Response) -> str:
    """In whose name a refusal asks for a proof, as much of it as a log may hold; "" if in none."""
    asks, _ = _ANSWERS.get(response.status, ("", ""))
    for value in response.headers.get_all(asks) if asks else ():
        if realm := (digest_params(value) or {}).get("realm"):
            return "".join(one for one in realm if one.isprintable())[:MAX_REALM_TOLD]
    return ""


def _challenge(value: str) -> Challenge | None:
    params = digest_params(value)
    if params is None or "realm" not in params or "nonce" not in params:
        return None
    if params.get("algorithm", "MD5").upper() not in _ALGORITHMS:
        return None
    qops = [option.strip(" ").lower() for option in params.get("qop", "").split(",")]
    if "qop" in params and "auth" not in qops:
        return None
    return Challenge(
        realm=params["realm"],
        nonce=params["nonce"],
        algorithm=params.get("algorithm"),
        qop="qop" in params,
        opaque=params.get("opaque"),
        stale=params.get("stale", "").lower() == "true",
    )


def digest_params(text: str) -> dict[str, str] | None:
    """What a header of the scheme Digest says, by lower-case names; None for another scheme, and
    for a list that could be read in two ways.

    The options of a `qop` need not be in quotes, as some servers have it: no name of a parameter
    stands without its value, so they cannot be taken for one.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    at = scheme.end()
    params: dict[str, str] = {}
    while at < len(text):
        match = _PARAM.match(text, at)
        if match is None or match["name"].lower() in params:
            return None
        quoted = match["quoted"]
        value = match["plain"] if quoted is None else _ESCAPED_CHAR.sub(r"\1", quoted)
        at = match.end()
        name = match["name"].lower()
        if name == "qop" and quoted is None and (more := _MORE_OPTIONS.match(text, at)):
            value = f"{value},{more[0]}"
            at = more.end()
        params[name] = value
    return params


def hashed(algorithm: str, *parts: str) -> str:
    """The digest of the parts with colons between them, in hexadecimal."""
    name = _ALGORITHMS[algorithm]
    return hashlib.new(name, ":".join(parts).encode(), usedforsecurity=False).hexdigest()


def secret_of(algorithm: str, username: str, realm: str, password: str) -> str:
    """What both sides of a proof know (H(A1) of RFC 7616 section 3.4.2)."""
    return hashed(algorithm, username, realm, password)


def proof(
    challenge: Challenge,
    credentials: Credentials,
    *,
    method: str,
    uri: str,
    count: int,
    cnonce: str,
) -> str:
    """The value of an (Proxy-)Authorization header (RFC 7616 section 3.4).

    `uri` is the Request-URI, `count` how often the nonce has been used, this time included. Raises
    ValueError for values that no header can carry.
    """
    algorithm = (challenge.algorithm or "MD5").upper()
    secret = secret_of(algorithm, credentials.username, challenge.realm, credentials.password)
    asked = hashed(algorithm, method, uri)
    nc = f"{count:08x}"
    if challenge.qop:
        response = hashed(algorithm, secret, challenge.nonce, nc, cnonce, "auth", asked)
    else:
        response = hashed(algorithm, secret, challenge.nonce, asked)
    params = [
        ("username", _quoted(credentials.username)),
        ("realm", _quoted(challenge.realm)),
        ("nonce", _quoted(challenge.nonce)),
        ("uri", _quoted(uri)),
        ("response", _quoted(response)),
    ]
    if challenge.algorithm is not None:
        params.append(("algorithm", challenge.algorithm))
    if challenge.qop:
        params += [("cnonce", _quoted(cnonce)), ("qop", "auth"), ("nc", nc)]
    if challenge.opaque is not None:
        params.append(("opaque", _quoted(challenge.opaque)))
    return "Digest " + ", ".join(f"{name}={value}" for name, value in params)


def _quoted(text: str) -> str:
    if FORBIDDEN.search(text):
        raise ValueError("control character or line break in a proof")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class Login:
    """What one call of ours may answer challenges with, and to whom."""

    __slots__ = ("_asked", "_counts", "_credentials", "_hosts", "_token")

    def __init__(
        self,
        credentials: Credentials,
        host: str,
        token: Callable[[], str],
        others: Collection[str] = (),
    ) -> None:
        """`host` is where the call's INVITE goes, `others` are those of the same trunk, as DNS has
        them: what its peer says of itself is none. `token` makes cnonces."""
        self._credentials = credentials
        self._hosts = frozenset((host, *others))
        self._token = token
        self._asked: dict[str, Challenge] = {}
        """What was asked last, by the header that answers it."""
        self._counts: dict[str, int] = {}
        """How often each nonce of these was used."""

    def is_for(self, host: str) -> bool:
        """Whether a proof may go there."""
        return host in self._hosts

    def answer(
        self, request: Request, response: Response, host: str, answered: Sequence[str]
    ) -> tuple[str, str, str] | None:
        """The header (name, value) that answers a refusal of `request`, and the nonce used.

        `host` is where the request was sent, `answered` the nonces that its earlier repetitions
        answered. A proxy and the server behind it may each want a proof; from the same one a
        second challenge is a refusal, unless it only wants a fresh nonce. None when the refusal is
        to be taken as it is.
        """
        if response.status not in _ANSWERS or not self.is_for(host):
            return None
        asks, answers = _ANSWERS[response.status]
        offered = challenges(response.headers, asks)
        challenge = next((one for one in offered if self._credentials.are_for(one.realm)), None)
        if challenge is None or len(answered) > MAX_STALE:
            return None
        refused = bool(answered) and answers in request.headers
        if refused and not (challenge.stale and challenge.nonce not in answered):
            return None
        return answers, self._proof(answers, challenge, request), challenge.nonce

    def repeated(self, request: Request, answers: str) -> list[tuple[str, str]]:
        """Headers that prove anew what `request` proves besides the one called `answers`: whoever
        asked for them takes no proof twice."""
        return [
            (name, self._proof(name, self._asked[name], request))
            for name in PROOFS
            if name != answers and name in request.headers and name in self._asked
        ]

    def _proof(self, answers: str, challenge: Challenge, request: Request) -> str:
        self._asked[answers] = challenge
        counts = {one.nonce: self._counts.get(one.nonce, 0) for one in self._asked.values()}
        counts[challenge.nonce] = min(counts[challenge.nonce] + 1, MAX_COUNT)
        self._counts = counts
        return proof(
            challenge,
            self._credentials,
            method=request.method,
            uri=request.uri,
            count=counts[challenge.nonce],
            cnonce=self._token(),
        )
