#!/usr/bin/env bash
# Makes the pocket lineup that comes with the package anew: models, gallery, calibration, samples.
#
#   bash models/ship_pocket.sh SHARED [WORK]
#
# SHARED holds photos/; numbers computed from them are kept, no image is. WORK keeps checkpoints and
# pictures; a run that was interrupted goes on where it stopped. Training takes hours on two cores.
set -euo pipefail

shared=$1
work=${2:-$(mktemp -d)}
data=engine/lineup/data
candidates="pocket-ash pocket-birch pocket-cedar pocket-dogwood"

lineup train pocket --seed 0 --output "$work/checkpoint"
[ -d "$work/bundles" ] || lineup export pocket "$work/checkpoint" --output "$work/bundles"
for bundle in "$work"/bundles/*; do
    rm -rf "$data/bundles/$(basename "$bundle")"
    cp -r "$bundle" "$data/bundles/"
done

# Fingerprints of what each candidate drew of 64 scenes.
[ -d "$work/enrol" ] || python benchmarks/image_sets.py attribution --split validation --first 0 \
    --count 64 --output "$work/enrol" $candidates
rm -rf "$work/gallery"
for name in $candidates; do
    lineup enroll "$name" "$work/enrol/$name" --gallery "$work/gallery" --channels clean \
        --provenance "drawn by $name, pocket world, validation scenes"
done
lineup gallery export "$data/lineups/pocket/gallery.safetensors" --gallery "$work/gallery"

# Other scenes to calibrate on, with photographs beside them.
if [ ! -d "$work/calibration" ]; then
    python benchmarks/image_sets.py attribution --split validation --first 1000 --count 60 \
        --output "$work/calibration" $candidates
    mkdir "$work/calibration/real"
    find "$shared/photos" -type f \( -name '*.jpg' -o -name '*.png' \) | sort | awk 'NR % 30 == 1' |
        while read -r photo; do cp "$photo" "$work/calibration/real/"; done
fi
LINEUP_HOME="$work/home" lineup calibrate "$work/calibration" --lineup pocket --seed 0 --gamma 1,2,4,8 \
    --scores "$work/calibration.scores.jsonl" --output "$data/lineups/pocket/calibration.json"

# Samples of the demo: one query of each candidate, one of the held-out generator, one scene.
[ -d "$work/samples" ] || python benchmarks/image_sets.py attribution --split validation --first 5000 \
    --count 1 --output "$work/samples" $candidates pocket-elm
mkdir -p "$data/samples/pocket"
for name in ash birch cedar dogwood elm; do
    cp "$work/samples/pocket-$name/0000.png" "$data/samples/pocket/$name.png"
done
cp "$work/samples/rendered/0000.png" "$data/samples/pocket/rendered.png"
