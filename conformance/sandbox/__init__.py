"""The process of an implementation: its messages, its deadlines and its crashes."""
