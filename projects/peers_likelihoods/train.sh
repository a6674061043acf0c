#!/usr/bin/env bash
# All 47 trainings, one after another: about four minutes each on one core, 3.6 core-hours together. What is done is not done
# again: the same command goes on after a stop. A failed run does not stop the others.
#
#   projects/peers_likelihoods/train.sh movenet_multipose.pth output/peers
#
# The sets of configs/people/Base-data.yaml, LSPET and synthetic people lie below $DETECTRON2_DATASETS.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
movenet=${1:?give the file of MoveNet\'s weights}
output=${2:-output/peers}
python=${PYTHON:-.venv/bin/python}
project=projects/peers_likelihoods
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH="$PWD/$project${PYTHONPATH:+:$PYTHONPATH}"

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

# rf_detr_published reads out the weights of rf_detr in another way.
repeated=(rle laplace student rle_student rf_detr rf_detr_published)
once=(gaussian gaussian_matrix rle_released yolo26)
compare lspet 1 "${repeated[@]}" "${once[@]}"
compare people 1 "${repeated[@]}" "${once[@]}"
compare synthetic 1 "${repeated[@]}" "${once[@]}"
for seed in 2 3; do
    for name in lspet synthetic; do
        compare "$name" "$seed" "${repeated[@]}"
    done
done
