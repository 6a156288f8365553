//go:build !chaos

package main

import "time"

// wallClock is the limiter's wall clock: the system's, in every build but that
// for chaos tests.
func wallClock(string) func() time.Time { return time.Now }

// buildKind is told with the version.
const buildKind = ""
