"""Domain words for a BERT tokenizer, and what they bring."""
