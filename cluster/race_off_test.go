//go:build !race

package cluster

const slower = 1
