"""Published systems under the conditions of their own papers, our figures beside theirs."""
