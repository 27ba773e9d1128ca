#!/bin/sh
# RetroMAE 预训练：编码器掩码 30%，单层解码器只凭 [CLS] 向量重建原文（掩码 50%），得到更适合检索的编码器。
# 后面的参数覆盖这里的设置，例如：sh run_retromae.sh --model_name_or_path outputs/mlm --train_data 语料文件夹
# 解码器另存为 retromae_decoder.safetensors，下次可接着训练；多卡：NPROC=8；中断后用同一命令继续。
set -eu
cd "$(dirname "$0")"
. ../../finbert2.sh

launch pretrain run \
  --objective retromae \
  --model_name_or_path valuesimplex-ai-lab/FinBERT2-base \
  --train_data sample_data.jsonl \
  --max_seq_length 512 --mask_ratio 0.30 --decoder_mask_ratio 0.50 \
  --learning_rate 1e-4 --warmup_steps 0.1 --weight_decay 0.01 \
  --per_device_train_batch_size 16 --num_train_epochs 1 \
  --output_dir outputs/retromae \
  "$@"
