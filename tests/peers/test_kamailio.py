"""Kamailio as the registrar that knows the gateway, and as the edge in front of two of them."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.audio import silence, write_wav
from tests.peers.baresip import Baresip, need_baresip
from tests.peers.calls_api import CallsApi
from tests.peers.gateway import HOST, GatewayProcess, eventually, free_port
from tests.peers.kamailio import REALM, Kamailio, need_kamailio, write_accounts
from tests.peers.sipp import Sipp, need_sipp, run_sipp
from tests.sdk import authority
from tests.sdk.application import NodeApplication
from tests.sdk.schemas import need_wrtc

needs_time = pytest.mark.skipif(
    not os.environ.get("KAMAILIO_ALL"), reason="takes more than a minute; KAMAILIO_ALL=1 runs it"
)
pytestmark = [
    pytest.mark.peer,
    pytest.mark.patient,
    pytest.mark.slow,
    pytest.mark.usefixtures("meanwhile"),
]

ACCOUNTS = {"agent": "s3cret,:@x", "second": "other", "caller": "phone"}
ESCAPED = "s3cret%2C%3A%40x"


def standings(gateway: GatewayProcess) -> list[dict[str, str]]:
    status, text = gateway.get("/readyz")
    assert status == 200
    found: list[dict[str, str]] = json.loads(text).get("registrations", [])
    return found


class Pbx:
    """`registrar.cfg`, and what is needed to be known there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = authority.make(directory)
        self.microphone = directory / "silence.wav"
        write_wav(self.microphone, silence(60))
        self._accounts = write_accounts(directory, ACCOUNTS)
        self.kamailio = self._start()

    def _start(self, again: Kamailio | None = None) -> Kamailio:
        defines = {"REALM": REALM, "ACCOUNTS": self._accounts}
        ports = None if again is None else again.ports
        return Kamailio("registrar", self.directory, self.files, defines, ports)

    def restart(self) -> None:
        """It forgets who is registered, and all connections end."""
        self.kamailio.stop()
        self.kamailio = self._start(self.kamailio)
        self.kamailio.__enter__()

    def port(self, transport: str) -> int:
        return self.kamailio.ports.tls if transport == "tls" else self.kamailio.ports.plain

    def gateway(
        self, transport: str, user: str = "agent", password: str = ESCAPED, more: str = ""
    ) -> GatewayProcess:
        """One with an account here, which nobody else may call."""
        uri = f"sip:{user}:{password}@{HOST}:{self.port(transport)};transport={transport}"
        env = {
            "GATEWAY_SIP_REGISTER": f"{uri};realm={REALM}{more}",
            "GATEWAY_SIP_TRUNK": f"{uri};realm={REALM}",
            "GATEWAY_CALLS_TARGETS": f"sip:*@{HOST}",
            "GATEWAY_SIP_ALLOW": "192.0.2.0/24",
            "GATEWAY_SIP_TLS_TRUST": str(self.files.authority),
        }
        return GatewayProcess(env=env)

    def phone(self, name: str, dial: str, transport: str = "udp") -> Baresip:
        port = self.port(transport)
        return Baresip(
            self.directory / name,
            transport=transport,
            codec="PCMU",
            microphone=self.microphone,
            dial=f"sip:{dial}@{HOST}:{port};transport={transport}",
            login=("caller", ACCOUNTS["caller"]),
            files=self.files,
        )


@pytest.fixture(scope="module")
def pbx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pbx]:
    need_kamailio()
    office = Pbx(tmp_path_factory.mktemp("pbx"))
    try:
        office.kamailio.__enter__()
        yield office
    finally:
        office.kamailio.stop()


class TestRegistrar:
    @pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
    def test_a_telephone_calls_the_registered_gateway(self, pbx: Pbx, transport: str) -> None:
        """The registrar is not in GATEWAY_SIP_ALLOW: the registration lets it in. Over TLS the
        gateway listens nowhere, so the call can only come on the connection that it opened."""
        need_baresip()
        with pbx.gateway(transport) as gateway:
            up = gateway.wait_for("registration.up", 10)
            assert (up["registrar"], up["level"]) == (HOST, "info")
            assert standings(gateway) == [{"registrar": HOST, "state": "up"}]
            metrics = gateway.metrics()
            assert metrics[f'gateway_registry_up{{registrar="{HOST}"}}'] == 1
            assert metrics['gateway_registrations_total{result="ok"}'] == 1
            with pbx.phone(f"phone-{transport}", "agent") as phone:
                call_id = str(gateway.wait_for("call.answered", 10)["call_id"])
                assert CallsApi(gateway).hears_and_is_heard(call_id)
                phone.hang_up()
                assert gateway.wait_for("call.ended", 5)["reason"] == "remote_bye"
            mark = gateway.mark()
            with pbx.phone(f"again-{transport}", "agent"):
                call_id = str(gateway.wait_for("call.answered", 10, mark)["call_id"])
                assert CallsApi(gateway).hang_up(call_id).status == 200
                ended = gateway.wait_for("call.ended", 5, call_id=call_id)
                assert ended["reason"] == "hangup"

    @needs_time
    def test_it_takes_the_registration_back_when_it_stops(self, pbx: Pbx) -> None:
        need_baresip()
        with pbx.gateway("udp") as gateway:
            gateway.wait_for("registration.up", 10)
        with pbx.phone("too-late", "agent") as phone:
            assert eventually(lambda: "404" in phone.output, 10), phone.output[-2000:]

    @pytest.mark.parametrize("transport", ["udp", "tls"])
    def test_it_calls_another_account(self, pbx: Pbx, transport: str) -> None:
        with (
            pbx.gateway("tcp", "second", "other") as other,
            pbx.gateway(transport) as gateway,
        ):
            other.wait_for("registration.up", 10)
            gateway.wait_for("registration.up", 10)
            api = CallsApi(gateway)
            call_id = api.call(f"sip:second@{HOST}")
            api.until(call_id, "active")
            incoming = str(other.wait_for("call.answered", 5)["call_id"])
            assert CallsApi(other).hears_and_is_heard(incoming)
            assert CallsApi(other).hang_up(incoming).status == 200
            ended = gateway.wait_for("call.ended", 5, call_id=call_id)
            assert ended["reason"] == "remote_bye"

    @needs_time
    def test_a_wrong_password_is_tried_once(self, pbx: Pbx) -> None:
        with pbx.gateway("udp", password="guess") as gateway:
            failed = gateway.wait_for("registration.failed", 10)
            assert (failed["reason"], failed["sip_status"]) == ("refused", 401)
            assert failed["retry_s"] >= 150
            assert standings(gateway) == [
                {"registrar": HOST, "state": "down", "reason": "refused 401"}
            ]
            assert gateway.metrics()['gateway_registrations_total{result="refused"}'] == 1

    @pytest.mark.parametrize("transport", ["tcp", "tls"])
    @needs_time
    def test_a_registrar_that_starts_again_is_told_again(self, pbx: Pbx, transport: str) -> None:
        with pbx.gateway(transport) as gateway:
            gateway.wait_for("registration.up", 10)
            mark = gateway.mark()
            pbx.restart()
            assert gateway.wait_for("registration.down", 10, mark)["reason"] == "lost"
            # At once, or after the first pause if it was not there yet.
            gateway.wait_for("registration.up", 45, mark)

    @needs_time
    def test_it_is_refreshed_in_time(self, pbx: Pbx) -> None:
        with pbx.gateway("udp", more=";expires=30;keepalive=5") as gateway:
            gateway.wait_for("registration.up", 10)
            name = 'gateway_registrations_total{result="ok"}'
            assert eventually(lambda: gateway.metrics()[name] >= 2, 30, 0.5)
            assert not gateway.lines("registration.down")


class Edge:
    """`edge.cfg` in front of two gateways, and a carrier that takes their calls."""

    def __init__(self, directory: Path, gateways: list[GatewayProcess], carrier: int) -> None:
        self.files = authority.make(directory)
        places = [f"1 sip:{HOST}:{gateway.sip_port} 0 0\n" for gateway in gateways]
        (directory / "gateways.list").write_text("".join(places))
        (directory / "callers.list").write_text(f"1 {HOST} 32 0 tests\n")
        defines = {
            "GATEWAYS": str(directory / "gateways.list"),
            "CALLERS": str(directory / "callers.list"),
            "CARRIER": f"sip:{HOST}:{carrier}",
        }
        self.kamailio = Kamailio("edge", directory, self.files, defines)


class Site:
    """Two gateways behind an edge that they call out through, too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.carrier = free_port()
        self.gateways = [GatewayProcess(), GatewayProcess()]
        self.edge = Edge(directory, self.gateways, self.carrier)
        for gateway in self.gateways:
            gateway.env |= {
                "GATEWAY_SIP_TRUNK": f"sip:{HOST}:{self.edge.kamailio.ports.plain}",
                "GATEWAY_CALLS_TARGETS": "tel:+49",
                "GATEWAY_DRAIN_S": "20",
            }
        self.microphone = directory / "silence.wav"
        write_wav(self.microphone, silence(60))

    def answered(self) -> list[int]:
        """How many calls each gateway has answered."""
        return [len(gateway.lines("call.answered")) for gateway in self.gateways]

    def calls(self, count: int, name: str) -> None:
        """Place so many short calls through the edge, of which none may fail."""
        folder = self.directory / name
        folder.mkdir()
        result = run_sipp(
            "hold",
            self.edge.kamailio.plain,
            folder,
            calls=count,
            rate=5,
            fill={"AUDIO": str(self._mulaw()), "HOLD_MS": "500"},
        )
        assert (result.status, result.successful, result.failed) == (0, count, 0), result

    def _mulaw(self) -> Path:
        path = self.directory / "silence.ul"
        path.write_bytes(b"\xff" * 8000 * 10)
        return path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    need_kamailio()
    office = Site(tmp_path)
    with ExitStack() as stack:
        for gateway in office.gateways:
            gateway.start()
            stack.callback(gateway.wait)
            stack.callback(gateway.terminate)
        stack.enter_context(office.edge.kamailio)
        yield office


class TestEdge:
    def test_calls_are_shared_held_and_ended_from_either_side(self, site: Site) -> None:
        need_sipp()
        site.calls(6, "shared")
        assert eventually(lambda: sum(site.answered()) == 6, 5)
        assert min(site.answered()) >= 1
        for gateway in site.gateways:
            reasons = {line["reason"] for line in gateway.ended_calls()}
            assert reasons == {"remote_bye"}

    @needs_time
    def test_who_drains_is_left_out_and_keeps_its_calls(self, site: Site) -> None:
        need_sipp()
        need_baresip()
        first, second = site.gateways
        with Baresip(
            site.directory / "phone",
            transport="tls",
            codec="PCMU",
            microphone=site.microphone,
            dial=f"sip:agent@{HOST}:{site.edge.kamailio.ports.tls};transport=tls",
            files=site.edge.files,
        ) as phone:
            assert eventually(lambda: sum(site.answered()) == 1, 10), phone.output[-2000:]
            busy, free = (first, second) if site.answered()[0] else (second, first)
            call_id = str(busy.wait_for("call.answered", 5)["call_id"])
            assert CallsApi(busy).hears_and_is_heard(call_id)
            busy.terminate()
            busy.wait_for("gateway.draining", 5)
            site.calls(4, "draining")
            assert len(free.lines("call.answered")) == 4
            assert eventually(lambda: site.edge.kamailio.said("takes no calls"), 5)
            phone.hang_up()
            assert busy.wait_for("call.ended", 5, call_id=call_id)["reason"] == "remote_bye"

    @needs_time
    def test_who_is_killed_costs_no_new_call(self, site: Site) -> None:
        need_sipp()
        site.calls(2, "before")
        os.kill(site.gateways[0].pid, signal.SIGKILL)
        site.calls(4, "after")
        assert len(site.gateways[1].lines("call.answered")) == 5

    @needs_time
    def test_a_gateway_calls_out_and_hangs_up(self, site: Site) -> None:
        need_sipp()
        gateway = site.gateways[0]
        with Sipp(
            "uas", None, site.directory, port=site.carrier, fill={"CODECS": "0 8"}
        ) as carrier:
            api = CallsApi(gateway)
            call_id = api.call("tel:+4930123")
            api.until(call_id, "active")
            assert api.hang_up(call_id).status == 200
            result = carrier.result()
        assert (result.successful, result.failed) == (1, 0), result
        assert gateway.wait_for("call.ended", 5, call_id=call_id)["reason"] == "hangup"

    @needs_time
    def test_a_browser_calls_over_wss(self, site: Site) -> None:
        need_wrtc()
        url = f"wss://{HOST}:{site.edge.kamailio.ports.wss}"
        speech = str(site.microphone)
        files = site.edge.files
        with NodeApplication("webrtc.mjs", None, files.authority, "jssip", speech) as phone:
            phone.do("connect", url=url, target=f"sip:agent@{HOST}")
            assert eventually(lambda: sum(site.answered()) == 1, 10), site.edge.kamailio.output
            gateway = site.gateways[0 if site.answered()[0] else 1]
            line = gateway.lines("call.answered")[0]
            assert (line["codec"], line["media_security"]) == ("opus", "srtp")
            call_id = str(line["call_id"])
            assert CallsApi(gateway).hears_and_is_heard(call_id)
            assert CallsApi(gateway).hang_up(call_id).status == 200
            assert gateway.wait_for("call.ended", 5, call_id=call_id)["reason"] == "hangup"
