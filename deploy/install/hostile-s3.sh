#!/bin/bash
# Installs the S3 servers that only the slow tests of hostile stores need, into a virtual environment of their own (build/hostile-s3): Swift with
# its s3api, whose create-only PUT lets several writers win, and the JuiceFS gateway, which ignores the condition. Does nothing, and needs no
# network, when all is there. Starts no service.
#
# usage: deploy/install/hostile-s3.sh          from anywhere
set -euo pipefail
cd "$(dirname "$0")/../.."

LOCK=requirements/hostile-s3.txt
VENV=build/hostile-s3

cmp --silent "$LOCK" "$VENV/installed.txt" && exit
echo "Installing the servers of $LOCK"
test -x "$VENV/bin/python" || /usr/bin/python3 -m venv "$VENV"
"$VENV/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$LOCK"
cp "$LOCK" "$VENV/installed.txt"
