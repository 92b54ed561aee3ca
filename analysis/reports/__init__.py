"""The two reports, correlation and counterexamples, and what stands beside them: budgets and commands to run again."""
