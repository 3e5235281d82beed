"""A dialog: what two user agents remember of each other (RFC 3261 section 12).

Call-ID and the two tags name it. Each side counts its own requests in CSeq, so that one which comes
late is recognised. Requests go to the *remote target*, the peer's Contact, by way of the *route
set*, the proxies that asked to stay in by Record-Route. Both are learned when the dialog begins;
the target may move later (target refresh), the route set never.

A loose route (`lr`) is written as Route headers above an untouched Request-URI. A proxy without
`lr` is a strict router of RFC 2543 and wants its own address in the Request-URI; the target then
travels at the end of the Route headers (section 12.2.1.1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Self

from gateway.sip.compose import MAX_FORWARDS, adopted, sequence_number
from gateway.sip.headers import name_addrs, split_list, tag_of, with_tag
from gateway.sip.message import Address, Message, Request, Response
from gateway.sip.uri import NameAddr, SipUri, UriError, uri_scheme

Networks = Sequence[IPv4Network | IPv6Network]

_WIDEST = 7
"""Length of the prefix of the widest private network (fc00::/7)."""
MAX_TARGET_CHARS = 4096
"""A longer Contact is not followed: it would not fit into a request line with room to spare."""


@dataclass(slots=True)
class Dialog:
    """One side's view; "local" is us."""

    call_id: str
    local: str
    """Value of our From, with our tag."""
    remote: str
    """Value of our To, with the peer's tag if it gave one (RFC 2543 need not)."""
    local_tag: str
    remote_tag: str
    local_cseq: int
    """Of our last request."""
    remote_cseq: int | None
    """Of the peer's last request."""
    target: str
    """Remote target, a URI."""
    routes: tuple[str, ...]
    """Route set in the order in which requests pass it."""
    flow: Address
    """Where the peer was last heard."""
    flow_is_open: bool = True
    """False once the connection that `flow` names is gone."""
    is_sips: bool = False
    """Whether it was begun to be private on every hop."""
    networks: Networks = ()
    """Those that the operator knows: of one of them, an address means to all the same host."""
    on_move: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    """Told when the peer, or the way to it, may be somewhere else."""

    @classmethod
    def of_invite(cls, invite: Request, source: Address, tag: str, networks: Networks = ()) -> Self:
        """The callee's side (section 12.1.1)."""
        headers = invite.headers
        caller = headers.get("From") or ""
        return cls(
            call_id=headers.get("Call-ID") or "",
            local=with_tag(headers.get("To") or "", tag),
            remote=caller,
            local_tag=tag,
            remote_tag=tag_of(caller) or "",
            local_cseq=0,
            remote_cseq=sequence_number(invite),
            # A caller of RFC 2543 need not give a Contact and is called back at its From.
            target=contact_of(invite) or as_request_uri(NameAddr.parse(caller).uri),
            routes=tuple(str(route) for route in name_addrs(headers, "Record-Route")),
            flow=source,
            is_sips=uri_scheme(invite.uri) == "sips",
            networks=networks,
        )

    @classmethod
    def proposed(cls, invite: Request, to: Address, networks: Networks = ()) -> Self:
        """The caller's side before anybody has answered."""
        local = invite.headers.get("From") or ""
        return cls(
            call_id=invite.headers.get("Call-ID") or "",
            local=local,
            remote=invite.headers.get("To") or "",
            local_tag=tag_of(local) or "",
            remote_tag="",
            local_cseq=sequence_number(invite),
            remote_cseq=None,
            target=invite.uri,
            routes=(),
            flow=to,
            is_sips=uri_scheme(invite.uri) == "sips",
            networks=networks,
        )

    @classmethod
    def of_response(
        cls, invite: Request, response: Response, source: Address, networks: Networks = ()
    ) -> Self:
        """The caller's side (section 12.1.2)."""
        dialog = cls.proposed(invite, source, networks)
        dialog.remote = response.headers.get("To") or ""
        dialog.remote_tag = tag_of(dialog.remote) or ""
        dialog.target = contact_of(response) or invite.uri
        routes = [str(route) for route in name_addrs(response.headers, "Record-Route")]
        dialog.routes = tuple(reversed(routes))
        return dialog

    def refresh(self, message: Message) -> None:
        """Follow the Contact of an agreed re-INVITE (section 12.2)."""
        self._follow(contact_of(message) or self.target, self.flow, self.flow_is_open)

    def heard_from(self, source: Address) -> None:
        """Note where the peer's latest message came from."""
        self._follow(self.target, source, True)

    def connection_lost(self, address: Address) -> None:
        """Note that a connection is gone, which may be the one that leads to the peer."""
        if self.flow == address:
            self._follow(self.target, self.flow, False)

    def _follow(self, target: str, flow: Address, is_open: bool) -> None:
        before = (self.target, self.flow, self.flow_is_open)
        self.target, self.flow, self.flow_is_open = target, flow, is_open
        if self.on_move is not None and before != (target, flow, is_open):
            self.on_move()

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing can be sent to the peer before it connects again: it spoke over a
        WebSocket, which is gone, and no proxy on the way has an address."""
        return self.flow.is_websocket and not self.flow_is_open and self.next_hop() == self.flow

    def request(self, method: str, number: int | None = None) -> Request:
        """The next request inside the dialog, or the ACK of the INVITE with that number."""
        if number is None:
            self.local_cseq += 1
            number = self.local_cseq
        uri = self.target
        routes = list(self.routes)
        if routes and not _is_loose(routes[0]):
            uri = as_request_uri(NameAddr.parse(routes[0]).uri)
            routes = [*routes[1:], f"<{self.target}>"]
        copied = [("Max-Forwards", MAX_FORWARDS)]
        copied += [("Route", route) for route in routes]
        copied += [("From", self.local), ("To", self.remote), ("Call-ID", self.call_id)]
        copied.append(("CSeq", f"{number} {method}"))
        return Request(method, uri, adopted(copied))

    def next_hop(self) -> Address:
        """Where our requests are sent: to the first route, else to the Contact, or to the flow.

        A connection is kept as long as it is open. The Contact of a peer on a WebSocket is no
        address (RFC 7118), whatever it looks like. A name is followed only where TLS proves it: it
        stands in the address then, with port 0 if DNS is to say. An address is followed only if it
        can mean the same here as where the peer's packets come from: what a telephone behind a NAT
        writes into Contact means nothing here, while the NAT keeps the way back to where its
        packets came from open.
        """
        # RFC 3261 sections 8.1.2 and 12.2.1.1 let the first route decide, whatever its address,
        # because the proxy that wrote it knows its network. But we cannot tell a proxy from a
        # caller who makes a Record-Route up to have our BYE sent to a machine that it cannot reach
        # itself. A proxy that stays in the path has just sent us a request, so where that came
        # from will do for it, and routes get no more trust than a Contact.
        if self.flow.is_reliable and self.flow_is_open:
            return self.flow
        if self.flow.is_websocket and not self.routes:
            return self.flow
        first = NameAddr.parse(self.routes[0]).uri if self.routes else self.target
        hop = _address_of(first, self.flow.name)
        if hop is None and self.flow.transport == "tls":
            hop = _named(first)
            return self.flow if hop is None else hop
        if hop is None or not _is_followed(hop.host, self.flow.host, self.networks):
            return self.flow
        return hop


def contact_of(message: Message) -> str | None:
    """The URI of the Contact, ready for a request line; None without one that can be followed."""
    try:
        first = NameAddr.parse(split_list(message.headers.get("Contact") or "")[0])
    except ValueError:
        return None
    uri = as_request_uri(first.uri)
    return uri if len(uri) <= MAX_TARGET_CHARS else None


def as_request_uri(text: str) -> str:
    """Without the parts that section 19.1.1 forbids there."""
    try:
        uri = SipUri.parse(text)
    except UriError:
        return text
    if not uri.headers and uri.param("method") is None:
        return text
    params = tuple(pair for pair in uri.params if pair[0].lower() != "method")
    return str(SipUri(uri.scheme, uri.user, uri.password, uri.host, uri.port, params))


def _is_loose(route: str) -> bool:
    try:
        return NameAddr.parse(route).sip_uri().param("lr") is not None
    except UriError:
        return True  # no address that could go into a request line


def _address_of(text: str, name: str) -> Address | None:
    """The address in a URI; None for a name, and for a transport that we do not speak.

    Over TLS whoever is there has to prove the `name` that the peer proved.
    """
    try:
        uri = SipUri.parse(text)
        ip_address(uri.host)
    except ValueError:
        return None
    transport = (uri.param("transport") or "udp").lower()
    if uri.scheme == "sips" or transport == "tls":
        return Address(uri.host, uri.port or 5061, "tls", name)
    return Address(uri.host, uri.port or 5060, transport) if transport in ("udp", "tcp") else None


def _named(text: str) -> Address | None:
    """Whoever has to prove by TLS to be the host in a URI; None for an address, and for no TLS."""
    try:
        uri = SipUri.parse(text)
    except UriError:
        return None
    is_tls = uri.scheme == "sips" or (uri.param("transport") or "").lower() == "tls"
    if not is_tls or uri.port == 0 or uri.host.replace(".", "").isdecimal():
        return None
    host = uri.host.lower()
    return Address(host, uri.port or 0, "tls", host)


def _is_followed(host: str, source: str, networks: Networks) -> bool:
    """Whether a peer at `source` may send us to `host`: to itself, anywhere in the internet, or
    within the one of `networks` that it is in, as where a proxy stands before several PBXs.

    Loopback may also name its other addresses. Both have to be of one family, since an address of
    another one cannot be reached over the same socket; one inside the other (RFC 4291 section
    2.5.5.2) is judged by what it holds.
    """
    try:
        hop, near = ip_address(host), ip_address(source)
    except ValueError:
        return False
    if hop == near:
        return True
    inner_hop, inner_near = (getattr(one, "ipv4_mapped", None) or one for one in (hop, near))
    if (hop.version, inner_hop.version) != (near.version, inner_near.version):
        return False
    if inner_hop.is_loopback:
        return bool(inner_near.is_loopback)
    if inner_hop.is_link_local or inner_hop.is_multicast or inner_hop.is_unspecified:
        return False
    for network in networks:
        if inner_hop in network and inner_near in network and network.prefixlen >= _WIDEST:
            return True
    return inner_hop.is_global and not (inner_hop.is_multicast or inner_hop.is_reserved)
