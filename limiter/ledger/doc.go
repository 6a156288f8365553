// Package ledger is the limiter's part of the replicated state: the cluster's
// time, who has a share of which window, and the pools of budgets that are not
// divided among the nodes beforehand. It has no clock, no randomness and no I/O:
// equal logs give equal ledgers and equal outcomes.
//
// Tokens are minted twice nowhere: of a window's limit, the nodes of its roster
// have their shares (Births), which no log entry needs to give them, and the
// pool is the rest.
package ledger
