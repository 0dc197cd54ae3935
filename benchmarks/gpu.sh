#!/usr/bin/env bash
# ResNet50 without attention and with DS beside torchvision's reference loop on one GPU: 512 px,
# batch 9, 200 steps each, in bf16; some 5 minutes. Run it in the project's environment.
set -euo pipefail
cd "$(dirname "$0")/.."
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
exec env PYTHONPATH="$PWD" python benchmarks/training.py --size-px 512 --batch 9 --steps 200 \
  --proposals 1000 --roi-samples 512 --precision bf16 --attention none ds
