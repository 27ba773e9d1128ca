#!/bin/sh
# 领域词表：用 SentencePiece 从语料中学出候选词，按节省的 token 数排序，加进 BERT 词表。
# 不给 --base_tokenizer 时，先从语料训练一个单字词表；与已发布的词表一样大是：
#   sh spm.sh --corpus 语料文件夹 --base_tokenizer hfl/chinese-roberta-wwm-ext --num_added_tokens 13804
# 给出 --base_model 时，同时扩展该模型的词向量。-h 列出全部参数。
set -eu
cd "$(dirname "$0")"
. ../../finbert2.sh

finbert2 tokenizer train \
  --corpus sample_corpus.txt \
  --num_added_tokens 13804 \
  --output_dir outputs/tokenizer \
  "$@"
