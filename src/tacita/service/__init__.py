"""Parties and the dealer as daemons: settings, policy, ledger, audit log, and the HTTPS front."""
