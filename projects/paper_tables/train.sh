#!/usr/bin/env bash
# All trainings of the loss tables, one after another, the most telling first. What is done is not done again: the same command
# goes on after a stop. A failed run does not stop the others.
#
#   projects/paper_tables/train.sh movenet_multipose.pth output/paper_tables
#
# LSPET, the sets of configs/people/Base-data.yaml and synthetic people lie below $DETECTRON2_DATASETS.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
movenet=${1:?give the file of MoveNet\'s weights}
output=${2:-output/paper_tables}
python=${PYTHON:-.venv/bin/python}
project=projects/paper_tables
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Memory that is given back and asked for again in every step took half of the processor's time.
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-4294967296}

# compare SET SEEDS LOSS ...
compare() {
    local name=$1 seeds=$2
    shift 2
    # shellcheck disable=SC2086  # seeds are words
    "$python" projects/loss_comparison/compare_losses.py --config-file "$project/configs/$name.yaml" \
        --rules "$project/rules.yaml" --output "$output/$name" --losses "$@" --seeds $seeds --jobs 1 \
        --opts MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED "$movenet"
    code=$?
    [ $code -lt 128 ] || exit $code
}

repeated=(rle_student rle laplace l1 simplepose)
once=(gaussian l2 flow rle_gaussian rle_released)
compare lspet 1 rle_student rle laplace l1
compare lspet 1 simplepose
compare lspet 1 "${once[@]}"
for name in synthetic people; do
    compare "$name" 1 "${repeated[@]}" "${once[@]}"
done
for name in lspet synthetic people; do
    compare "$name" "2 3" "${repeated[@]}"
done
compare lspet 1 student rle_3x64 rle_5x64 rle_5x128
