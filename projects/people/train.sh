#!/usr/bin/env bash
# Train people.pth again: two phases, calibration, and the small file. About 70 minutes on one core.
#
#   DETECTRON2_DATASETS=../shared/data projects/people/train.sh ../shared/weights/movenet_multipose.pth output/people
#
# Sigma is calibrated on images with COCO's labels: on those of a teacher, whom the model has learned from, it seems surer
# than it is. A stopped run goes on with the same command. The weights that come with the package had a first phase that was stopped at
# 1,386 of 3,000 iterations; here it has 1,400 and a schedule of its own, so the figures may differ a little.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
movenet=${1:?give the file of MoveNet\'s weights}
output=${2:-output/people}
python=${PYTHON:-.venv/bin/python}

"$python" tools/train_net.py --resume --config-file configs/people/people_first.yaml \
    MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED "$movenet" OUTPUT_DIR "$output/first"
"$python" tools/train_net.py --resume --config-file configs/people/people.yaml \
    MODEL.WEIGHTS "$output/first/model_final.pth" OUTPUT_DIR "$output/second"
"$python" tools/calibrate.py --config-file configs/people/people.yaml --dataset coco_val \
    --fit-dataset micro_val held_coco held_micro \
    --output "$output/calibrated.pth" --report-dir "$output/calibration" --opts MODEL.WEIGHTS "$output/second/model_final.pth"
"$python" tools/slim_checkpoint.py "$output/calibrated.pth" --half --output "$output/people.pth"
