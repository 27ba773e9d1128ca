#!/bin/sh
# 一条命令走完全部阶段：语料 → 词表 → MLM → RetroMAE → 分类与实体识别 → 检索 → 主题，最后生成报告 outputs/quickstart/report.html。
#
#   sh quickstart.sh                   自带的样例数据（两核 CPU 约 14 分钟，支持 bf16 时明显更快；不需要联网下载模型）
#   sh quickstart.sh DATA_DIR          你的数据：corpus/ classification/ ner/ retrieval/ topic/，缺的部分跳过
#   MODEL=valuesimplex-ai-lab/FinBERT2-base sh quickstart.sh     从已发布的模型开始
#
# 首次运行会建立 .venv 并安装依赖；中断后用同一命令继续。sh quickstart.sh -h 列出参数。
set -eu
# DATA_DIR and a model's folder are relative to where the user stands, everything else to this folder.
export FINBERT2_CALLED_FROM="$PWD"
cd "$(dirname "$0")"
. ./setup.sh

exec env PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" "$FINBERT2_PYTHON" -m finbert2.quickstart "$@"
