#!/bin/sh
# Debian packages of the programs that tests/peers talks to. `make test` calls this before pytest.
# It never fails: what is missing is named here, and the tests that need it skip with the same reason.

missing() {
    command -v sipp >/dev/null 2>&1 || printf ' sip-tester'
    command -v baresip >/dev/null 2>&1 || printf ' baresip-core'
    command -v rtpengine >/dev/null 2>&1 || printf ' rtpengine-daemon'
    command -v kamailio >/dev/null 2>&1 || printf ' kamailio kamailio-tls-modules kamailio-websocket-modules'
    command -v linphone-daemon >/dev/null 2>&1 || printf ' linphone-cli'
    # The shell is the smallest of its packages; a whole one does as well.
    command -v chromium-headless-shell >/dev/null 2>&1 || command -v chromium >/dev/null 2>&1 ||
        printf ' chromium-headless-shell'
}

packages=$(missing)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$packages with apt-get, for the tests with real phones and a browser"
    export DEBIAN_FRONTEND=noninteractive
    patience="-o DPkg::Lock::Timeout=60 -o Acquire::Retries=1 -o Acquire::http::Timeout=20"
    # One by one: another release may lack one of them. Both variables are lists of words.
    # shellcheck disable=SC2086
    { apt-get $patience -qq update && for package in $packages; do
        apt-get $patience -qq -y --no-install-recommends install "$package"
    done; } >/dev/null 2>&1
fi

for package in $(missing); do
    case $package in
        sip-tester) echo "skipping the tests that need SIPp: install sip-tester (as root: apt-get install sip-tester)" ;;
        rtpengine-daemon) echo "skipping the tests with a media proxy in front: install rtpengine-daemon (as root: apt-get install rtpengine-daemon)" ;;
        kamailio) echo "skipping the tests with a registrar and an edge: install kamailio, kamailio-tls-modules and kamailio-websocket-modules (as root, with apt-get install)" ;;
        chromium-headless-shell) echo "skipping the tests in a browser: install chromium-headless-shell (as root: apt-get install chromium-headless-shell)" ;;
        linphone-cli) echo "skipping the test with linphone: install linphone-cli (as root: apt-get install linphone-cli)" ;;
        baresip-core) echo "skipping the tests that need baresip: install baresip-core (as root: apt-get install baresip-core)" ;;
    esac
done
[ "$(id -u)" = 0 ] || echo "skipping the tests in which SIPp replays a capture: they need root, for a raw socket"
exit 0
