"""Training of networks, one at a time or several as one program. Knows no Trial, no disk and no ray."""
