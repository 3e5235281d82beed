"""Where webhooks may go: the operator's URL as written, and the addresses that names turn into."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.target import address_fault, check_webhook_url

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "url",
    [
        "https://agent.example/webhook",
        "https://agent.example.:8443/webhook?token=1#part",
        "http://localhost:3000",
        "http://agent_1:3000/",  # a container
        "http://bücher.example/",
        "http://127.0.0.1:3000/",
        "http://[::1]:3000/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://100.64.0.1/",
        "http://[fd00::1]/",
        "http://[2001:db8::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::203.0.113.1]/",
    ],
)
def test_the_operator_may_name(url: str) -> None:
    assert check_webhook_url(url) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://0.0.0.0/", "unspecified"),
        ("http://0.1.2.3/", "unspecified"),
        ("http://[::]/", "unspecified"),
        ("http://[::ffff:0.0.0.0]/", "unspecified"),
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("http://[::ffff:169.254.169.254]/", "link-local"),
        ("http://[::ffff:a9fe:a9fe]/", "link-local"),
        ("http://[::169.254.169.254]/", "link-local"),
        ("http://[2002:a9fe:a9fe::1]/", "link-local"),
        ("http://[64:ff9b::169.254.169.254]/", "link-local"),
        ("http://[fe80::1]/", "link-local"),
        ("http://[fe80::1%25eth0]/", "zone"),
        ("http://[::1%25lo]/", "zone"),
        ("http://[::ffff:127.0.0.1]/", "IPv6 clothes"),
        ("http://[2002:7f00:1::]/", "IPv6 clothes"),
        ("http://[64:ff9b::7f00:1]/", "IPv6 clothes"),
        ("http://[64:ff9b:1::7f00:1]/", "reserved"),
        ("http://[2001::1]/", "Teredo"),
        ("http://[100::1]/", "reserved"),
        ("http://224.0.0.1/", "multicast"),
        ("http://[ff02::1]/", "multicast"),
        ("http://[::ffff:239.1.1.1]/", "multicast"),
        ("http://255.255.255.255/", "broadcast"),
        ("http://[2002:ffff:ffff::]/", "broadcast"),
        ("http://240.0.0.1/", "reserved"),
        ("http://[fd00:ec2::254]/", "metadata"),
        ("http://168.63.129.16/", "metadata"),
        ("http://2130706433/", "four decimal"),
        ("http://127.1/", "four decimal"),
        ("http://127.0.0.1./", "four decimal"),
        ("http://0x7f.1/", "four decimal"),
        ("http://0x7f000001/", "four decimal"),
        ("http://0177.0.0.1/", "four decimal"),
        ("http://10.0.0.0x1/", "four decimal"),
        ("http://0x/", "four decimal"),
        ("http://0/", "four decimal"),
        ("http://1.2.3.4.5/", "four decimal"),
        ("http://①②⑦.⓪.⓪.①/", "four decimal"),
        ("http://127。0。0。1/", "four decimal"),
        ("http://%31%32%37.0.0.1/", "four decimal"),
        ("http://%31%32%37.example/", "cannot exist"),
        ("http://a..example/", "cannot exist"),
        ("http://" + "a" * 64 + ".example/", "cannot exist"),
        ("http://" + "a.a" * 85 + "/", "cannot exist"),
        ("http://*/", "cannot exist"),
        ("http://user:pass@agent.example/", "user or a password"),
        ("http://127.0.0.1@agent.example/", "user or a password"),
        ("http://:pass@agent.example/", "user or a password"),
        ("http://agent.example\\@127.0.0.1/", "not a URL"),
        ("http://agent.example:99999/", "not a URL"),
        ("http://agent.example:0/", "port 0"),
        ("http://[::1/", "not a URL"),
        ("http:///webhook", "no host"),
        ("http://agent.example/a b", "blank"),
        ("http://agent.example/\r\nX: 1", "control"),
        ("//agent.example/", "http://"),
        ("agent.example", "http://"),
        ("", "http://"),
        ("ftp://agent.example/", "http://"),
        ("file:///etc/passwd", "http://"),
        ("ws://agent.example/", "http://"),
    ],
)
def test_refused(url: str, fault: str) -> None:
    told = check_webhook_url(url)
    assert told is not None
    assert fault in told


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    check_webhook_url(text)
    check_webhook_url("http://" + text)


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("100.100.100.200", "metadata"),
        ("words", "no address"),
    ],
)
def test_a_name_must_not_turn_into(address: str, fault: str) -> None:
    told = address_fault(address, resolved=True)
    assert told is not None
    assert fault in told


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "172.17.0.2", "192.168.1.1", "fd00::2", "203.0.113.1", "2001:db8::1"]
)
def test_a_name_may_be_that_of_a_container_or_of_a_public_host(address: str) -> None:
    assert address_fault(address, resolved=True) is None
