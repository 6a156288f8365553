//go:build !profile

package main

// profile does nothing in ordinary builds.
func profile() (stop func()) { return func() {} }
