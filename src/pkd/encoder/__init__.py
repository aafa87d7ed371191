"""BERT-like classifiers: loading, layers and [CLS] states."""
