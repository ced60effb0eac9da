#!/bin/sh
# The real run by the command line alone: human THINGS answers, real features of three networks, one page of results.
# Usage: GLOCAL_DATA_DIR=/path/to/data examples/things.sh [OUT]     (GLOCAL=... names another glocal)
set -eu

: "${GLOCAL_DATA_DIR:?set GLOCAL_DATA_DIR to the folder that holds things/, local/, imagenet200/ and cifar10/}"
out=${1:-things-out}
glocal=${GLOCAL:-glocal}

echo "Human answers on objects that no fit has seen; few-shot and anomaly detection on CIFAR-10; ImageNet neighbours:"
"${PYTHON:-python}" "$(dirname "$0")/things.py" "$out/data"
"$glocal" suite "$(dirname "$0")/things.toml" --root "$out/data" --out "$out"
set -- "$out"
clip=$GLOCAL_DATA_DIR/things/features/clip-vit-b32
if [ -d "$clip" ]; then
    echo "All arms on one front: CLIP ViT-B/32, rows of length 1; neighbours among Flickr photographs:"
    python=${PYTHON:-python}
    mkdir -p "$out/clip"
    for pair in objects:things/features local:local; do
        "$python" - "$GLOCAL_DATA_DIR/${pair#*:}/clip-vit-b32/features.npy" "$out/clip/${pair%%:*}.npy" <<'CODE'
import sys
import numpy as np
X = np.load(sys.argv[1]).astype("float32")
np.save(sys.argv[2], X / np.linalg.norm(X, axis=1, keepdims=True))
CODE
    done
    mkdir -p "$out/clip/objects"
    mv "$out/clip/objects.npy" "$out/clip/objects/features.npy"
    cp "$clip/file_names.txt" "$out/clip/objects/"
    "$glocal" sweep --features "$out/clip/objects" --triplets "$GLOCAL_DATA_DIR/things/triplets.npy" \
        --object-ids "$GLOCAL_DATA_DIR/things/unique_id.txt" --local-features "$out/clip/local.npy" \
        --out "$out/clip-front" --resume
    set -- "$out" "$out/clip-front"
fi
"$glocal" report "$@" --out "$out/report.html"
