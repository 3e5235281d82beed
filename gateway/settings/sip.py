"""Settings of SIP and media."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.settings import values
from gateway.settings.errors import SettingsError
from gateway.settings.values import (
    PORT,
    PREFIX,
    SECONDS,
    Group,
    Meaning,
    Port,
    Seconds,
    is_loopback,
    split,
)
from gateway.sip.account import Account
from gateway.sip.trunk import parse_trunks


class SipSettings(Group):
    sip_host: Annotated[
        str, AfterValidator(values.ip), Meaning("address the SIP sockets bind to", "an IP address")
    ] = "127.0.0.1"
    sip_udp_port: Annotated[Port, Meaning("SIP over UDP; 0 turns it off", PORT)] = 5060
    sip_tcp_port: Annotated[Port, Meaning("SIP over TCP; 0 turns it off", PORT)] = 5060
    sip_tls_port: Annotated[
        Port, Meaning("SIP over TLS; needs GATEWAY_SIP_TLS_CERT; 0 turns it off", PORT)
    ] = 0
    sip_ws_port: Annotated[
        Port, Meaning("SIP over WebSocket, for browsers (RFC 7118); 0 turns it off", PORT)
    ] = 0
    sip_ws_origins: Annotated[
        str,
        AfterValidator(values.origins),
        Meaning(
            "whose pages may call over WebSocket, besides those of the gateway's own host",
            "origins like https://phone.example.org, comma-separated",
        ),
    ] = ""
    sip_tls_cert: Annotated[
        str,
        Meaning(
            "certificate file, read again when it changes; GATEWAY_SIP_WS_PORT then speaks wss and "
            "no longer ws; it is also shown to servers that we call over TLS and that ask for one",
            "a file",
        ),
    ] = ""
    sip_tls_key: Annotated[str, Meaning("its key file", "a file")] = ""
    sip_tls_ca: Annotated[
        str,
        Meaning(
            "who connects to GATEWAY_SIP_TLS_PORT must show a certificate of these authorities; "
            "empty: nobody is asked for one",
            "a file",
        ),
    ] = ""
    sip_tls_trust: Annotated[
        str,
        Meaning(
            "authorities that those are believed by whom we call or register with over TLS; empty: "
            "the system's",
            "a file",
        ),
    ] = ""
    sip_dns: Annotated[
        str,
        AfterValidator(values.name_servers),
        Meaning(
            "name servers that are asked where trunks and registrars are (RFC 3263); empty: those "
            "of the system",
            "IP addresses, each with a port if that is not 53, comma-separated",
        ),
    ] = ""
    sip_advertised_host: Annotated[
        str,
        AfterValidator(lambda value: value and values.ips(value)),
        Meaning(
            "what Contact, Via and SDP say; empty: GATEWAY_SIP_HOST; needed when that is 0.0.0.0 "
            "or ::; two, one of IPv4 and one of IPv6, have :: serve both",
            "an IP address of the same family as GATEWAY_SIP_HOST; or two, comma-separated",
        ),
    ] = ""
    sip_allow: Annotated[
        str,
        AfterValidator(values.networks),
        Meaning(
            "who may send requests without a password; empty: anyone when GATEWAY_SIP_HOST is "
            "loopback and GATEWAY_SIP_USERS is empty, else nobody",
            "networks like 192.0.2.0/24, comma-separated",
        ),
    ] = ""
    sip_users: Annotated[
        str,
        AfterValidator(lambda value: value and values.users(value)),
        Meaning(
            "who may call with a password (digest), from any address that GATEWAY_SIP_ALLOW does "
            "not name, of this machine too; escapes like %40 and %2C allowed",
            "user:password, comma-separated",
            secret=True,
        ),
    ] = ""
    sip_realm: Annotated[
        str,
        AfterValidator(values.realm),
        Meaning(
            "what the passwords of GATEWAY_SIP_USERS are for; empty: what Contact says", "a name"
        ),
    ] = ""
    sip_digest: Annotated[
        str,
        AfterValidator(values.digests),
        Meaning(
            "how a password may be proved, the best first (RFC 8760); some old telephones give up "
            "at the first that they do not know, and need MD5 alone",
            "SHA-512-256, SHA-256 and MD5, or some of them",
        ),
    ] = "SHA-512-256,SHA-256,MD5"
    sip_rate: Annotated[
        float,
        Field(ge=0, le=100_000),
        Meaning(
            "requests a second of one address that is not in GATEWAY_SIP_ALLOW; who only fails is "
            "slowed, and then not heard for five minutes; 0 is without a limit",
            "0 to 100000",
        ),
    ] = 20
    sip_register: Annotated[
        str,
        AfterValidator(values.registrations),
        Meaning(
            "registrars (trunks, PBXs) to be registered with; calls from there are let in; each is "
            "described in deploy/sip.md",
            "sip:user:password@registrar;transport=tls and further parameters realm, auth, proxy, "
            "expires, contact and keepalive, comma-separated",
            secret=True,
        ),
    ] = ""
    sip_trunk: Annotated[
        str,
        AfterValidator(values.trunks),
        Meaning(
            "who carries calls that we make to telephone numbers, several with prefixes; a "
            "password is told only to the realm given, which is the host if left out; no user and "
            "password for a trunk that knows us by our address; each is described in deploy/sip.md",
            "sip:user:password@host:port;transport=tls;realm=example and further parameters proxy, "
            "prefix, calls, rate, identity and ping, comma-separated, all but the host optional; "
            "port and transport that are left out are asked of DNS",
            secret=True,
        ),
    ] = ""
    sip_session_timer_s: Annotated[
        int,
        AfterValidator(values.session_timer),
        Meaning(
            "a session that nobody refreshes for so long is over (RFC 4028); 0 turns that off",
            "0, or 90 to 86400 seconds",
        ),
    ] = 1800
    sip_100rel: Annotated[
        Literal["off", "supported", "required"],
        Meaning(
            "provisional answers that are acknowledged (RFC 3262): never, where the other side "
            "can, or only with those who can",
            "off, supported, required",
        ),
    ] = "supported"
    sip_accept_refer: Annotated[
        bool,
        Meaning(
            "the other side of a call may have it passed on (REFER), to targets that "
            "GATEWAY_CALLS_TARGETS names; the agent speaks on with them",
            "true, false",
        ),
    ] = False
    sip_accept_replaces: Annotated[
        bool,
        Meaning(
            "a caller may take the place of the other side of a call by naming it (RFC 3891), as "
            "the target of an attended transfer does; the agent speaks on with them",
            "true, false",
        ),
    ] = False
    sip_srtp: Annotated[
        Literal["off", "offer", "require"],
        Meaning(
            "media encryption by keys in SDP: none, for those who want it (and offered by us where "
            "signalling is over TLS), or for all",
            "off, offer, require",
        ),
    ] = "offer"

    sip_early_media: Annotated[
        str,
        AfterValidator(lambda value: value if value == "ringback" else values.filler(value)),
        Meaning(
            "what callers hear before they are answered, sent by us (183): off leaves ringing to "
            "their own telephone",
            f"off, ringback, tone or {values.WAV}",
        ),
    ] = "off"
    calls_hear_early: Annotated[
        bool,
        Meaning(
            "in calls that we make the agent hears what comes before the answer, such as "
            "announcements; it is itself heard from the answer on. In a bridge the caller hears "
            "it, instead of our ringing",
            "true, false",
        ),
    ] = False

    rtp_port_min: Annotated[Port, Meaning("first media port", "1024 to 65535")] = 20000
    rtp_port_max: Annotated[Port, Meaning("last media port", "1024 to 65535")] = 29999
    rtp_timeout_s: Annotated[
        Seconds, Meaning("hang up when a caller who is not on hold sends nothing", SECONDS)
    ] = 30

    @property
    def sip_names(self) -> tuple[str, ...]:
        """The IP addresses that we are called by: one, or one of each family."""
        return tuple(split(self.sip_advertised_host)) or (self.sip_host,)

    @property
    def sip_admits(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] | None:
        """Who needs no password; None for anyone. Where there are passwords, others need one."""
        networks = self.sip_networks
        return () if networks is None and self.sip_users else networks

    @property
    def sip_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] | None:
        """Who may send SIP requests; None for anyone, () for nobody."""
        networks = tuple(ipaddress.ip_network(network) for network in split(self.sip_allow))
        return None if not networks and is_loopback(self.sip_host) else networks


def check(settings: SipSettings) -> None:
    """Raises SettingsError: two settings contradict each other."""
    _check_addresses(settings)
    first = settings.rtp_port_min
    if first < 1024 or first + first % 2 >= settings.rtp_port_max:
        raise SettingsError(
            f"GATEWAY_RTP_PORT_MIN holds {first}; it may hold 1024 up to one less than "
            f"GATEWAY_RTP_PORT_MAX, which holds {settings.rtp_port_max}; a call takes an even port "
            "and the next"
        )
    _check_ports(settings)
    _check_certificate(settings)
    if settings.sip_realm and not settings.sip_users:
        raise SettingsError(
            f"GATEWAY_SIP_REALM holds {settings.sip_realm!r}; it may hold a name only when "
            "GATEWAY_SIP_USERS is set, whose passwords are for it"
        )
    _check_carriers(settings)


def _check_carriers(settings: SipSettings) -> None:
    """What we register or call over must be there; only TLS needs no port of ours."""
    ports = {"udp": settings.sip_udp_port, "tcp": settings.sip_tcp_port}
    accounts = map(Account.parse, split(settings.sip_register))
    ways = [("REGISTER has a registration", account.transport) for account in accounts]
    trunks = parse_trunks(split(settings.sip_trunk))
    ways += [("TRUNK has a trunk", trunk.transport) for trunk in trunks]
    for what, transport in ways:
        if not ports.get(transport, 1):
            raise SettingsError(
                f"GATEWAY_SIP_{transport.upper()}_PORT holds 0; it may hold 1 to 65535, because "
                f"GATEWAY_SIP_{what} over {transport}"
            )


def _check_ports(settings: SipSettings) -> None:
    """Somebody must be able to call, and every server has a port to itself."""
    streams = {
        name: port
        for name in ("TCP", "TLS", "WS")
        if (port := getattr(settings, f"sip_{name.lower()}_port"))
    }
    if not (settings.sip_udp_port or streams):
        raise SettingsError(
            "GATEWAY_SIP_UDP_PORT holds 0; it may hold 1 to 65535, because the ports of TCP, TLS "
            "and WebSocket are 0 too and no call could come in"
        )
    owners: dict[int, str] = {}
    for name, port in streams.items():
        if port in owners:
            raise SettingsError(
                f"GATEWAY_SIP_{name}_PORT holds {port}; it may hold another port, because "
                f"GATEWAY_SIP_{owners[port]}_PORT has that one"
            )
        owners[port] = name
    if settings.sip_tls_port and not settings.sip_tls_cert:
        raise SettingsError(
            "GATEWAY_SIP_TLS_CERT holds nothing; it may hold a file, and must when "
            "GATEWAY_SIP_TLS_PORT is set"
        )
    if settings.sip_tls_ca and not settings.sip_tls_port:
        raise SettingsError(
            "GATEWAY_SIP_TLS_PORT holds 0; it may hold 1 to 65535, because GATEWAY_SIP_TLS_CA is "
            "for who connects to it, and asks nobody else for a certificate"
        )


def _check_certificate(settings: SipSettings) -> None:
    if bool(settings.sip_tls_cert) != bool(settings.sip_tls_key):
        missing = "KEY" if settings.sip_tls_cert else "CERT"
        raise SettingsError(
            f"GATEWAY_SIP_TLS_{missing} holds nothing; it may hold a file, because "
            "certificate and key are only of use together"
        )
    for name in ("sip_tls_cert", "sip_tls_key", "sip_tls_ca", "sip_tls_trust"):
        if (path := getattr(settings, name)) and not Path(path).is_file():
            raise SettingsError(f"{PREFIX}{name.upper()} holds {path!r}; it may hold a file")


def _check_addresses(settings: SipSettings) -> None:
    """Callers must be told an address that they can send to."""
    host = ipaddress.ip_address(settings.sip_host)
    names = [ipaddress.ip_address(name) for name in settings.sip_names]
    if any(name.is_unspecified for name in names):
        raise SettingsError(
            f"GATEWAY_SIP_ADVERTISED_HOST holds {settings.sip_advertised_host or 'nothing'}; it "
            "may hold the IP address that callers reach, and must when GATEWAY_SIP_HOST is "
            f"every address ({settings.sip_host})"
        )
    if len(names) > 1:
        if sorted(name.version for name in names) != [4, 6] or settings.sip_host != "::":
            raise SettingsError(
                f"GATEWAY_SIP_ADVERTISED_HOST holds {settings.sip_advertised_host!r}; it may hold "
                "two addresses only when one is of IPv4, the other of IPv6, and GATEWAY_SIP_HOST "
                "is ::"
            )
    elif names[0].version != host.version:
        raise SettingsError(
            f"GATEWAY_SIP_ADVERTISED_HOST holds {settings.sip_advertised_host!r}; it may hold an "
            f"IPv{host.version} address, as GATEWAY_SIP_HOST does ({settings.sip_host})"
        )
