#!/bin/sh
# 语料准备：清洗、过滤、去重（MinHash），输出 train/、valid/、dropped/<原因>.jsonl（样例）与 results.json。
# 后面的参数覆盖这里的设置，例如：sh prepare_corpus.sh --input 我的语料文件夹 --output_dir 我的输出
# 相对路径以本文件夹为准；中断后用同一命令继续；-h 列出全部参数。
set -eu
cd "$(dirname "$0")"
. ../../finbert2.sh

finbert2 corpus prepare \
  --input sample_data.jsonl \
  --valid_fraction 0.02 \
  --output_dir outputs/corpus \
  "$@"
