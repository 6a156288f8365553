// Package cells is the table of a node's token counters: one cache line for each
// key and period, in memory that may outlive the process.
package cells
