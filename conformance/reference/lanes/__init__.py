"""The lanes: how inputs and weights are drawn, and what each way proves."""
