"""How an implementation is asked: one process for each, messages and their form, deadlines, crashes."""
