#!/bin/sh
# Debian packages of the programs that tests/peers talks to. `make test` calls this before pytest.
# It never fails: what is missing is named here, and the tests that need it skip with the same reason.

missing() {
    command -v sipp >/dev/null 2>&1 || printf ' sip-tester'
    command -v baresip >/dev/null 2>&1 || printf ' baresip-core'
}

packages=$(missing)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$packages with apt-get, for the tests that call real phones"
    export DEBIAN_FRONTEND=noninteractive
    patience="-o DPkg::Lock::Timeout=60 -o Acquire::Retries=1 -o Acquire::http::Timeout=20"
    # shellcheck disable=SC2086 # both are lists of words
    { apt-get $patience -qq update &&
        apt-get $patience -qq -y --no-install-recommends install $packages; } >/dev/null 2>&1
fi

for package in $(missing); do
    case $package in
        sip-tester) echo "skipping the tests that need SIPp: install sip-tester (as root: apt-get install sip-tester)" ;;
        baresip-core) echo "skipping the tests that need baresip: install baresip-core (as root: apt-get install baresip-core)" ;;
    esac
done
[ "$(id -u)" = 0 ] || echo "skipping the tests in which SIPp replays a capture: they need root, for a raw socket"
exit 0
