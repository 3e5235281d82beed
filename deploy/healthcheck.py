"""Exit status 0 when the gateway of this container answers, at the address its settings say."""

import http.client
import os
import ssl


def main() -> bool:
    host = os.environ.get("GATEWAY_HTTP_HOST") or "127.0.0.1"
    port = int(os.environ.get("GATEWAY_HTTP_PORT") or 8080)
    connection = http.client.HTTPConnection(host, port, timeout=3)
    if os.environ.get("GATEWAY_HTTP_TLS_CERT"):
        # The certificate is for the outside; whether it is good is not the question here.
        trusting = ssl.create_default_context()
        trusting.check_hostname = False
        trusting.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=3, context=trusting)
    connection.request("GET", "/healthz")
    return connection.getresponse().status == 200


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
