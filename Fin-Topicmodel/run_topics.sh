#!/bin/sh
# 研报标题的主题模型：标题 → 主题、主题词、质量指标、主题树、趋势、一页报告、可再次使用的模型（输出在 outputs/topics）
#
#   sh run_topics.sh                                            # 用自带的样例标题
#   sh run_topics.sh --titles 我的标题.csv --output_dir 我的结果      # 用自己的标题；列名 title（另可有 date、industry、org）
#   sh run_topics.sh --model_name_or_path ../Fin-retriever/outputs/retriever  # 用自己训练的编码器
#   sh run_topics.sh --num_topics 40                            # 指定主题数
#   sh run_topics.sh --topic_list 主题表.txt                      # 先按自己列出的主题归类，其余再自动发现
#   sh run_topics.sh --preset paper                             # 论文笔记本的设置：32 维，每个主题至少 2 条标题
#   sh run_topics.sh -h                                         # 全部参数
#
# 写在命令后面的参数优先。编码器默认从 Hub 下载；不能联网时请给本地文件夹。
set -eu
cd "$(dirname "$0")"
. ../finbert2.sh
finbert2 topics run \
  --model_name_or_path valuesimplex-ai-lab/Fin-Retriever-base \
  --titles sample_titles.csv \
  --userdict userdict.txt \
  --stopwords stopwords_cn.txt \
  --output_dir outputs/topics \
  "$@"
