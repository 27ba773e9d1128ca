#!/bin/sh
# 批量打标签：输出 id,text,label,score,probs,abstained；实体识别模型输出 entities。中断后用同一命令继续；NPROC=4 用四张卡。
# 后面的参数覆盖这里的设置，例如：sh predict.sh --model_name_or_path outputs/company_ner --input 新闻.jsonl --output outputs/entities.jsonl
# 先运行 runclassify.sh；--input - 从标准输入逐行读取；-h 列出全部参数。
set -eu
cd "$(dirname "$0")"
. ../finbert2.sh

launch labeler predict \
  --model_name_or_path outputs/SC_2 \
  --input SC_2/test.csv \
  --output outputs/predictions.csv \
  "$@"
