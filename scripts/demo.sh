#!/usr/bin/env bash
# Set up (once), then invert and edit the bundled pictures on the CPU. Needs no download and no GPU.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment

OUT="${1:-demo}"
echo
echo "Model 'tiny': an UNTRAINED 64 px stack built from a seed. It runs every step of SDIC, and its pictures are abstract:"
echo "they show that everything works here, not how well SDIC reconstructs. For that, get the released weights (README)."
echo
"$PYTHON" -m sdic edit pretrained/portraits/examples --out "$OUT" --model tiny \
    --edit pc0=2 --edit pc1=-2:2:3 --save-inversions
echo
echo "Look at   $ROOT/$OUT/sheet.png   (photo, first reconstruction, inversion, edits)"
echo "Pictures: $ROOT/$OUT/inversion/ and $ROOT/$OUT/pc*/   Report: $ROOT/$OUT/report.json"
