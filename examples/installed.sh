#!/bin/sh
# Install a wheel or a source distribution of glocal into an empty environment outside the tree, and use it there:
#   examples/installed.sh dist/glocal-0.1.0-py3-none-any.whl [UV]
set -eu
file=$(realpath "$1")
uv=$(command -v "${2:-uv}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH
cd "$folder"
"$uv" venv --quiet --python "${PYTHON:-python3}" env
"$uv" pip install --quiet --python env/bin/python "$file"
env/bin/python - <<'CODE'
import numpy as np

rng = np.random.default_rng(0)
seen, mind = rng.normal(size=(60, 8)), rng.normal(size=(8, 2))
triplets = np.array([rng.permutation(60)[:3] for _ in range(3000)])
told = seen @ mind
for row in triplets:  # the pair that is nearest in the mind comes first, the odd one last
    pairs = [(told[row[a]] @ told[row[b]], a, b) for a, b in ((0, 1), (0, 2), (1, 2))]
    _, a, b = max(pairs)
    row[:] = row[[a, b, 3 - a - b]]
np.save("features.npy", seen)
np.save("triplets.npy", triplets)
CODE
env/bin/glocal --version
env/bin/glocal fit --features features.npy --triplets triplets.npy --holdout 3 --out transform.npz
env/bin/glocal evaluate odd-one-out --features features.npy --triplets triplets.npy --transform transform.npz
env/bin/glocal apply transform.npz features.npy --out aligned.npy
env/bin/glocal transforms pull clip-vit-b-32
env/bin/glocal data fetch > list.txt
env/bin/python -c "import glocal; assert glocal.__file__.startswith('$folder'), glocal.__file__"
echo "$(basename "$file") works"
