//go:build !race

package main

// buildFlags are what the program under test is built with beyond the usual.
var buildFlags []string
