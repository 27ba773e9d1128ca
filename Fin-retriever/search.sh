#!/bin/sh
# 检索：先运行 index.sh；索引中记有编码器，无需再指定；默认混合检索（向量 + BM25）。
# 后面的参数覆盖这里的设置，例如：sh search.sh --query 光伏装机增速 --mode dense --filter 'industry == "电子"'
# --json 逐行输出 JSON；相对路径以本文件夹为准。
set -eu
cd "$(dirname "$0")"
. ../finbert2.sh

finbert2 retriever search \
  --uri outputs/passages.db --collection passages \
  --query 美联储加息对科技股的影响 \
  --top_k 5 --mode hybrid \
  "$@"
