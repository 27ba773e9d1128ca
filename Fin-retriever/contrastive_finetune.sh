#!/bin/sh
# 对比学习微调：InfoNCE，温度 0.01，每个问题 1 个正例加 14 个负例，每批 64 个问题（GradCache，显存基本不随 batch size 增长；原仓库每步 256 个）。
# 后面的参数覆盖这里的设置，例如：sh contrastive_finetune.sh --train_data outputs/mined.jsonl
# 多卡：NPROC=4 sh contrastive_finetune.sh（4 × 64 = 每步 256 个）；中断后用同一命令继续。
set -eu
cd "$(dirname "$0")"
. ../finbert2.sh

launch retriever train \
  --model_name_or_path valuesimplex-ai-lab/FinBERT2-base \
  --train_data finetune_traindata_sample.json \
  --train_group_size 15 --temperature 0.01 \
  --query_max_len 512 --passage_max_len 512 \
  --learning_rate 2e-5 --num_train_epochs 5 --warmup_steps 0.1 --weight_decay 0.03 \
  --per_device_train_batch_size 64 --mini_batch_tokens 16384 \
  --output_dir outputs/retriever \
  "$@"
