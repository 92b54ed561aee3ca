"""The correlation and the counterexample report, optimizers at equal budgets, and commands that run cells."""
