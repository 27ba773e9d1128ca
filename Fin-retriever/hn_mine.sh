#!/bin/sh
# 挖掘难负例：用编码器（可加 BM25）检索每个问题，去掉疑似正例与近重复，写出带 neg 的训练数据。
# 后面的参数覆盖这里的设置，例如：sh hn_mine.sh --source both --negatives 20
# 相对路径以本文件夹为准；-h 列出全部参数。
set -eu
cd "$(dirname "$0")"
. ../finbert2.sh

finbert2 retriever mine \
  --model_name_or_path valuesimplex-ai-lab/Fin-Retriever-base \
  --train_data finetune_traindata_sample.json \
  --output outputs/mined.jsonl \
  --rank_min 0 --rank_max 100 --negatives 15 --max_relative_score 0.95 \
  "$@"
