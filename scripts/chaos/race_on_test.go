//go:build race

package main

// buildFlags are what the program under test is built with beyond the usual:
// tests that look for races want its processes to look too.
var buildFlags = []string{"-race"}
