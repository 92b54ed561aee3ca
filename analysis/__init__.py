"""From trial rows to statistics, verdicts on the papers' claims, figures and the report."""
