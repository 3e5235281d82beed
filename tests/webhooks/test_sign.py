"""The signature, against a second writing of it."""

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.sign import key_of, signature

pytestmark = pytest.mark.pure


def expected(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    digest = hmac.new(key, b".".join([message_id.encode(), timestamp.encode(), body]), "sha256")
    return "v1," + base64.b64encode(digest.digest()).decode()


def test_a_known_message() -> None:
    """The example of the Standard Webhooks specification."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert (
        signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@given(st.binary(min_size=1), st.text("abc_019", min_size=1), st.integers(0, 2**40), st.binary())
def test_every_message(key: bytes, message_id: str, timestamp: int, body: bytes) -> None:
    assert signature([key], message_id, timestamp, body) == expected(
        key, message_id, str(timestamp), body
    )


def test_each_key_signs_in_order() -> None:
    old, new = b"old", b"new"
    both = signature([old, new], "wh_1", 7, b"{}")
    assert both.split(" ") == [expected(key, "wh_1", "7", b"{}") for key in (old, new)]
    assert signature([], "wh_1", 7, b"{}") == ""


@given(st.binary(min_size=1))
def test_a_secret_in_base64_is_its_bytes_with_and_without_padding(key: bytes) -> None:
    text = "whsec_" + base64.b64encode(key).decode()
    assert key_of(text) == key_of(text.rstrip("=")) == key


@pytest.mark.parametrize("secret", ["plain text", "Whsec_YQ==", "YQ==", "schlüssel"])
def test_another_secret_is_its_text(secret: str) -> None:
    assert key_of(secret) == secret.encode()


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_==", "whsec_abcde", "whsec_ab-_", "whsec_ab c", "whsec_é"]
)
def test_what_is_no_key_is_refused_without_telling_it(secret: str) -> None:
    with pytest.raises(ValueError) as caught:
        key_of(secret)
    told = secret.removeprefix("whsec_")
    assert not told.strip("=") or told not in str(caught.value)
