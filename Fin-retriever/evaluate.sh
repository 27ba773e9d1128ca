#!/bin/sh
# 评测：向量检索、BM25 与混合检索的 nDCG、MRR、MAP、Recall，可同时比较多个模型。
# 后面的参数覆盖这里的设置，例如：sh evaluate.sh --model_name_or_path outputs/retriever BAAI/bge-base-zh-v1.5
# --data 可以是 BEIR 文件夹，也可以是 FIR-Bench 的标注文件；相对路径以本文件夹为准。
set -eu
cd "$(dirname "$0")"
. ../finbert2.sh

finbert2 retriever evaluate \
  --model_name_or_path valuesimplex-ai-lab/Fin-Retriever-base \
  --data sample_beir --split test \
  --output_dir outputs/evaluate \
  "$@"
