#!/bin/sh
# 文本分类微调（情感、行业……）：用开发集选模型，测试集只看一次，并与多数类、TF-IDF + 逻辑回归比较，写出 results.json 与 report.html。
# 后面的参数覆盖这里的设置，用自己的数据时几份都要写，否则开发集仍是 SC_2 的：
#   sh runclassify.sh --train_data 我的/train.csv --dev_data 我的/dev.csv --test_data 我的/test.csv --output_dir outputs/我的任务
# 没有开发集写 --dev_data ''，自动从训练集留出十分之一。
# 数据：CSV，列为 text,label；标签可以是名称或整数，多标签写作 a|b。--seeds 5 报告均值与标准差。中断后用同一命令继续；-h 列出全部参数。
set -eu
cd "$(dirname "$0")"
. ../finbert2.sh

launch labeler train \
  --task classification \
  --model_name_or_path valuesimplex-ai-lab/FinBERT2-base \
  --train_data SC_2/train.csv --dev_data SC_2/dev.csv --test_data SC_2/test.csv \
  --max_seq_length 512 --learning_rate 5e-5 --num_train_epochs 3 --per_device_train_batch_size 32 \
  --output_dir outputs/SC_2 \
  "$@"
