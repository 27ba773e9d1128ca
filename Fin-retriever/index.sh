#!/bin/sh
# 建索引：把段落的向量、BM25 词项和元数据写入 Milvus（默认是一个本地文件夹；再次运行只写新增和改动的段落）。
# 后面的参数覆盖这里的设置，例如：sh index.sh --corpus my.jsonl --uri http://localhost:19530
# 相对路径以本文件夹为准；-h 列出全部参数。
set -eu
cd "$(dirname "$0")"
. ../finbert2.sh

finbert2 retriever index \
  --model_name_or_path valuesimplex-ai-lab/Fin-Retriever-base \
  --corpus sample_passages.jsonl \
  --uri outputs/passages.db --collection passages \
  "$@"
