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
features = rng.normal(size=(60, 8))
mind = rng.normal(size=(8, 2))
triplets = np.array([rng.permutation(60)[:3] for _ in range(3000)])
similarities = features @ mind @ mind.T @ features.T
for row in triplets:  # the pair that is most similar in the mind comes first, the odd one last
    a, b = max([(0, 1), (0, 2), (1, 2)], key=lambda pair: similarities[row[pair[0]], row[pair[1]]])
    row[:] = row[[a, b, 3 - a - b]]
np.save("features.npy", features)
np.save("triplets.npy", triplets)
CODE
env/bin/glocal --version
env/bin/glocal data split --features features.npy --answers triplets.npy --folds 3 --out split
env/bin/glocal fit --features features.npy --answers split/train.npz --out transform.npz
env/bin/glocal evaluate odd-one-out --features features.npy --answers split/heldout.npz --transform transform.npz
env/bin/glocal apply transform.npz features.npy --out aligned.npy
env/bin/glocal transforms pull clip-vit-b-32
env/bin/glocal data fetch > list.txt
env/bin/python -c "import glocal; assert glocal.__file__.startswith('$folder'), glocal.__file__"
echo "$(basename "$file") works"
