#!/bin/sh
# 实体识别微调（公司、人名……）：按实体计算精确率、召回率与 F1。
# 后面的参数覆盖这里的设置，例如：sh runner.sh --train_data person_ner/train.txt --dev_data person_ner/dev.txt --test_data person_ner/test.txt --output_dir outputs/person_ner
# 数据：CoNLL，每行“字 标签”（BIO），句间空一行。中断后用同一命令继续；-h 列出全部参数。
set -eu
cd "$(dirname "$0")"
. ../finbert2.sh

launch labeler train \
  --task ner \
  --model_name_or_path valuesimplex-ai-lab/FinBERT2-base \
  --train_data company_ner/train.txt --dev_data company_ner/dev.txt --test_data company_ner/test.txt \
  --max_seq_length 256 --learning_rate 5e-5 --num_train_epochs 3 --per_device_train_batch_size 32 \
  --output_dir outputs/company_ner \
  "$@"
