#!/bin/sh
# The real run by the command line alone: human THINGS answers, real features of three networks, one page of results.
# Usage: GLOCAL_DATA_DIR=/path/to/data examples/things.sh [OUT]     (GLOCAL=... names another glocal)
set -eu

: "${GLOCAL_DATA_DIR:?set GLOCAL_DATA_DIR to the folder that holds things/, local/, imagenet200/ and cifar10/}"
out=${1:-things-out}
glocal=${GLOCAL:-glocal}

echo "Human answers on objects that no fit has seen; few-shot and anomaly detection on CIFAR-10; ImageNet neighbours:"
"$glocal" evaluate suite "$(dirname "$0")/things.toml" --out "$out"
"$glocal" report "$out" --out "$out/report.html"
