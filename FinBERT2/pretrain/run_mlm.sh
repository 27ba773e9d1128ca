#!/bin/sh
# 继续（或从头开始）掩码语言模型预训练：全词掩码、变长打包，只在被掩码位置计算输出层。
# 后面的参数覆盖这里的设置，例如：sh run_mlm.sh --train_data 语料文件夹 --learning_rate 1e-4
# 从头开始：sh run_mlm.sh --model_name_or_path '' --tokenizer_name 分词器文件夹 --num_hidden_layers 4 …
# 多卡：NPROC=8 sh run_mlm.sh；中断后用同一命令继续；-h 列出全部参数。
set -eu
cd "$(dirname "$0")"
. ../../finbert2.sh

launch pretrain run \
  --objective mlm \
  --model_name_or_path valuesimplex-ai-lab/FinBERT2-base \
  --train_data sample_data.jsonl \
  --max_seq_length 512 --mask_ratio 0.15 \
  --learning_rate 6e-4 --warmup_steps 1000 --weight_decay 0.01 --adam_beta2 0.98 --adam_epsilon 1e-6 \
  --per_device_train_batch_size 16 --num_train_epochs 1 \
  --output_dir outputs/mlm \
  "$@"
