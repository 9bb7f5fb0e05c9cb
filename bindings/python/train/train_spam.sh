#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes docs/spam.md and examples/models/spam-bert-* on one GPU: tokens, four concurrent pre-trainings, concurrent
# fine-tuning with five seeds, the table and the best models. A second run continues where the first one stopped.
#   ./train_spam.sh spam_assassin.jsonl.gz corpus.txt.xz build/spam [minutes of pre-training]
# PYTHON and DEVICE replace python3 and cuda; PRETRAIN holds more options for pretrain_bert.py. If SS1_LIBRARY is set,
# bf16 and int8 are tested, too.
set -eu
[ $# -ge 3 ] || { sed -n '3,7s/^# *//p' "$0"; exit 2; }
mails=$1 text=$2 out=$3 minutes=${4:-3}
here=$(dirname "$0") python=${PYTHON:-python3}
models='dense ss1-4 ss1-8 ss1-8-half'
mkdir -p "$out/log"

$python "$here/prepare_spam.py" --mails "$mails" --text "$text" --out "$out/data"
for model in $models; do
    $python "$here/pretrain_bert.py" --data "$out/data" --model "$model" --out "$out/pretrained" --minutes "$minutes" \
        --device "${DEVICE:-cuda}" ${BF16---bf16} ${PRETRAIN:-} >> "$out/log/pretrain-$model.log" 2>&1 &
done
wait
tail -qn 1 "$out"/log/pretrain-*.log

finetune() {
    $python "$here/finetune_spam.py" --data "$out/data" --pretrained "$out/pretrained" --out "$out/runs" \
        --device "${DEVICE:-cuda}" ${BF16---bf16} "$@"
}
for seed in 1 2 3 4 5; do
    finetune --seeds $seed >> "$out/log/finetune-$seed.log" 2>&1 &
done
wait
finish() {
    finetune --report "$out/spam.md" --export dense="$out/spam-bert-dense" --export ss1-4="$out/spam-bert-ss1" "$@"
}
finish
if [ -n "${SS1_LIBRARY:-}" ]; then
    for seed in 1 2 3 4 5; do
        finetune --seeds $seed --threads 3 --dtypes f32,bf16,i8 >> "$out/log/library-$seed.log" 2>&1 &
    done
    wait
    finish --dtypes f32,bf16,i8
fi
