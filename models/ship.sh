#!/usr/bin/env bash
# Makes everything that the package ships as data, from photographs and generated images:
#   bash models/ship.sh SHARED [CHECKPOINT]
# SHARED holds photos/, photos_native/<folder>/ and generated/<source>/; CHECKPOINT, a fit made before,
# saves the fit. The photographs that the fit holds out become the gallery's `real` source.
set -euo pipefail

shared=${1:?usage: models/ship.sh SHARED [CHECKPOINT]}
data=$(cd "$(dirname "$0")/../engine/lineup/data" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

checkpoint=${2:-$work/checkpoint}
photos=(--photos "$shared/photos" --photos "$shared/photos_native")
if [ ! -d "$checkpoint" ]; then # six minutes on one core
    lineup train whitening "${photos[@]}" --output "$checkpoint"
    lineup train real "$checkpoint" "${photos[@]}" --generated "$shared/generated"
fi
if [ ! -d "$checkpoint/reject" ]; then # half an hour on one core
    simulator() { python -m lineup_models.simulator "$@" --photos "$shared/photos" --threads 1 --seed 0; }
    simulator train --crop 80 --steps 1000 --output "$work/simulator"
    simulator bank --weights "$work/simulator/simulator.safetensors" --models 400 --output "$work/bank"
    python -m lineup_models.simulator pictures --bank "$work/bank" --output "$checkpoint/reject"
fi
mkdir -p "$data/bundles"
lineup export fingerprint "$checkpoint" --output "$data/bundles/whitened-spectrum" --overwrite

# A gallery ships as one file: enrolled into a folder, then exported.
rm -rf "$data/samples"
enroll() { # NAME DIR PROVENANCE [OPTIONS]
    local name=$1 folder=$2 provenance=$3
    shift 3
    lineup enroll "$name" "$folder" --provenance "$provenance" --device cpu "$@"
}
shipped=(--gallery "$work/gallery")
enroll dalle-mini "$shared/generated/dalle-mini" \
    "DALL-E mini, 256 px PNG, from the public repository dcsan/imagen" "${shipped[@]}"
enroll dalle3 "$shared/generated/dalle3" \
    "DALL-E 3, 512 px crops of PNG, from the public repository hvalfangst/daily-panda-image-bot" "${shipped[@]}"
enroll sd-beta "$shared/generated/sd-beta" \
    "Stable Diffusion beta, 512 px PNG, from the public repository dcsan/imagen" "${shipped[@]}"
enroll stylegan2-ffhq "$shared/generated/stylegan2-ffhq" \
    "StyleGAN2 FFHQ, 256 px PNG, from the public repository HorseLord9985/SADL_pj3" "${shipped[@]}"
# The photographs that the fit held out, of both folders: the 120 whose names have the lowest SHA-256.
python "$(dirname "$0")/../benchmarks/image_sets.py" verification --shared "$shared" --output "$work/set"
enroll real "$work/set/photographs" \
    "Photographs that the fit held out, from ImageNet samples, pets, BSDS500, Urban100, cameras and the web" \
    --role real "${shipped[@]}"
lineup gallery export "$data/gallery.safetensors" "${shipped[@]}"

enroll simulated "$checkpoint/reject" \
    "Photographs through simulated generators, one of each of 100: none of anybody's sources" \
    --gallery "$work/reject"
lineup gallery export "$data/reject.safetensors" --gallery "$work/reject"

python -m lineup_models.samples --output "$data/samples"
for source in nearest shuffle; do
    enroll "sketch-$source" "$data/samples/support/$source" \
        "Drawn by lineup_models.samples" --gallery "$work/sketches"
done
lineup gallery export "$data/samples/gallery.safetensors" --gallery "$work/sketches"
rm -rf "$data/samples/support"
