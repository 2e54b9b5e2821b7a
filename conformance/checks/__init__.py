"""What is checked: each check with the way it judges the answers to a question, and what they amount to."""
