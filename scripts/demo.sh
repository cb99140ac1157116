#!/usr/bin/env bash
# Set up (once), then invert, edit and measure the bundled pictures on the CPU. Needs no download and no GPU.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment

OUT="${1:-demo}"

trained() { # whether everything that the model 'portraits' and its directions need is here
    local file
    for file in pretrained/portraits/{generator,encoder,sdic,attributes,identity} editings/portraits/{age,yaw,smile}; do
        [ -f "$file.safetensors" ] || return 1
    done
}

echo
if trained; then
    echo "Model 'portraits': SDIC on rendered portraits, trained in this project. The sixteen pictures were never trained on,"
    echo "and their glasses, hats and scars are details that the generator cannot draw by itself."
    echo
    "$PYTHON" -m sdic edit examples --out "$OUT" --model portraits \
        --edit age=20 --edit yaw=-10:10:2 --edit smile=0.5 --save-inversions
    echo
    "$PYTHON" -m sdic evaluate examples --domain portraits --methods e4e,sdic \
        --out "$OUT/evaluation" --json "$OUT/metrics.json"
    EDITS="age=20, yaw=-10, yaw=10, smile=0.5"
else
    echo "Model 'tiny': an UNTRAINED 64 px stack built from a seed. It runs every step of SDIC, and its pictures are abstract:"
    echo "they show that everything works here, not how well SDIC reconstructs. For that, get the released weights (README)."
    echo
    "$PYTHON" -m sdic edit examples --out "$OUT" --model tiny \
        --edit pc0=2 --edit pc1=-2:2:3 --save-inversions
    EDITS="pc0=2, pc1=-2, pc1=0, pc1=2"
fi
echo
echo "Look at   $ROOT/$OUT/sheet.png   (photo, first reconstruction, inversion, edits)"
echo "Pictures: $ROOT/$OUT/inversion/ and one folder for each edit ($EDITS)   Report: $ROOT/$OUT/report.json"
if trained; then
    echo "Numbers:  $ROOT/$OUT/metrics.json"
fi
