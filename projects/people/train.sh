#!/usr/bin/env bash
# Train people.pth again: six phases, calibration, and the small file. About 90 minutes on one core and ten on a GPU, where
# the third phase runs if there is one.
#
#   projects/people/train.sh movenet_multipose.pth output/people
#
# The sets of configs/people/Base-data.yaml, and rle_synthetic_train for the sixth phase, lie below $DETECTRON2_DATASETS
# (datasets/README.md says where to get them, and how to make it);
# docs/fine_tuning.md says what is in the file of MoveNet's weights.
# Sigma is calibrated on images with COCO's labels: on those of a teacher, whom the model has learned from, it seems surer
# than it is. A stopped run goes on with the same command. The figures may differ a little: the weights that come with the
# package got the level p6 in the third phase only, there saw images of a stronger compression and half the backgrounds, and had
# Laplace's preset in the first four.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
movenet=${1:?give the file of MoveNet\'s weights}
output=${2:-output/people}
python=${PYTHON:-.venv/bin/python}

"$python" tools/train_net.py --resume --config-file configs/people/people_first.yaml \
    MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED "$movenet" OUTPUT_DIR "$output/first"
before=first
for phase in second third; do
    "$python" tools/train_net.py --resume --config-file "configs/people/people_$phase.yaml" \
        MODEL.WEIGHTS "$output/$before/model_final.pth" OUTPUT_DIR "$output/$phase"
    before=$phase
done
"$python" tools/train_net.py --resume --config-file configs/people/people.yaml \
    MODEL.WEIGHTS "$output/third/model_final.pth" OUTPUT_DIR "$output/fourth" MODEL.RLE_ONESTAGE.HEAD.VISIBILITY False
"$python" tools/train_net.py --resume --config-file configs/people/people_sigma.yaml \
    MODEL.WEIGHTS "$output/fourth/model_final.pth" OUTPUT_DIR "$output/sigma"
# What says which joints are hidden learns alone: people, poses and sigmas stay those of the phase before, to the digit.
"$python" tools/train_net.py --resume --config-file configs/people/people_visibility.yaml \
    MODEL.WEIGHTS "$output/sigma/model_final.pth" OUTPUT_DIR "$output/visibility"
"$python" -m rle_onestage.cli calibrate --config-file configs/people/people_visibility.yaml --dataset coco_val \
    --fit-dataset micro_val held_coco held_micro \
    --output "$output/calibrated.pth" --report-dir "$output/calibration" --opts MODEL.WEIGHTS "$output/visibility/model_final.pth"
"$python" tools/slim_checkpoint.py "$output/calibrated.pth" --half --output "$output/people.pth"
