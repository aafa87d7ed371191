"""A BERT-like classifier: its layers and its [CLS]."""
